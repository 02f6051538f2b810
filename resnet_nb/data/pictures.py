"""One image file: decoded as torchvision's loader does, refused where it is damaged or, if asked, where it is lossy."""

import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from resnet_nb.errors import InputError


def read_picture(path: Path, *, lossless: bool = False) -> Image.Image:
    """The image in `path` as 8-bit RGB, as torchvision's loader gives it: first frame, EXIF rotation and alpha ignored.

    lossless: take PNG and lossless WebP alone. Raises InputError naming the file where it cannot be decoded, is lossy,
    or has more than 8 bits a channel (Pillow would clip them), OSError where the system cannot read it.
    """
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if lossless:
                _refuse_lossy(path, picture.format, content)
            if picture.mode[0] in "IF":
                raise InputError(f"{path} has more than 8 bits a channel ({picture.mode}): convert it to 8 bits first.")
            return picture.convert("RGB")
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is damaged or no image that Pillow knows: replace or remove it.") from error
    except Exception as error:  # Pillow's decoders raise a dozen types on damaged bytes
        raise InputError(f"{path} cannot be decoded ({error}): replace or remove it.") from error


def _refuse_lossy(path: Path, form: str, content: bytes) -> None:
    if form == "PNG" or (form == "WEBP" and is_lossless_webp(content)):
        return
    if form in ("JPEG", "MPO", "WEBP"):
        kind = "lossy WebP" if form == "WEBP" else "JPEG"
        raise InputError(
            f"{path} is a {kind}, and re-saving at quality 95 costs a ResNet-20 one to two points of error: "
            f"take the original images as PNG or lossless WebP, or the official archive (--download)."
        )
    raise InputError(
        f"{path} is {form}: only PNG and lossless WebP are read here, or the official archive (--download)."
    )


def is_lossless_webp(content: bytes) -> bool:
    """Whether the WebP file `content` is one still, lossless image: a RIFF file with a chunk "VP8L" and no "VP8"."""
    place = 12  # after "RIFF", size, "WEBP"
    while place + 8 <= len(content):
        chunk, size = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        if chunk in (b"VP8L", b"VP8 "):  # those of an animation lie within its frames
            return chunk == b"VP8L"
        place += 8 + size + size % 2
    return False


def crop_centre(picture: Image.Image, side: int) -> Image.Image:
    """`picture` with its short side resized to `side` (bilinear, antialiased), then its centre, `side` x `side` pixels.

    The same pixels as torchvision's Resize and CenterCrop, whose rounding this follows.
    """
    width, height = picture.size
    short = min(width, height)
    width, height = (side if n == short else int(side * n / short) for n in (width, height))
    resized = picture if (width, height) == picture.size else picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (round((n - side) / 2) for n in (width, height))
    return resized.crop((left, top, left + side, top + side))
