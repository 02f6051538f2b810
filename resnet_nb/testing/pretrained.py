"""Published ImageNet weights of torchvision and timm by name, through the libraries' own interfaces, with the sizes that they were made for.

torchvision:resnet50 with IMAGENET1K_V1, IMAGENET1K_V2 ... or DEFAULT (the library's best); timm:resnet50 with a tag such as a1_in1k, or DEFAULT.
Files are kept where the libraries keep them: torchvision's in torch.hub's folder, checked on each use against the hash in their names, timm's in
the Hugging Face cache. Without a network a file that lies there serves.
"""

import contextlib
import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from resnet_nb.data.download import download, has_hash, reason
from resnet_nb.data.photographs.thousand import imagenet_classes
from resnet_nb.errors import InputError, RunError
from resnet_nb.protocols.geometry import Preprocessing

DEFAULT = "DEFAULT"


@dataclass(frozen=True, eq=False)
class Published:
    """A net with published weights, in evaluation mode. weights: the tag that DEFAULT stood for, too. source: where the library has them from.

    preprocessing: short side, crop, interpolation, mean and std that the weights' own metadata name. classes: names in the order of the scores.
    """

    model: str
    weights: str
    net: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    source: str


def published_weights(model: str, weights: str) -> Published:
    """The net `model`, torchvision:NAME or timm:NAME, with its published weights called `weights`.

    Raises InputError for unknown names, and for weights of other classes than ImageNet's thousand; RunError, one sentence with the remedy, where
    they cannot be fetched, or what was fetched cannot be read.
    """
    library, _, name = model.partition(":")
    if library not in LIBRARIES or not name:
        raise InputError(f"{model!r} has no published weights by name: write torchvision:NAME or timm:NAME, or give a file.")
    return LIBRARIES[library](model, name, weights)


def sizes_of_file(model: str, file: Path) -> Preprocessing | None:
    """What the published weights of `model` that are kept in a file of this name were made for, such as resnet50-0676ba61.pth; else None."""
    library, _, name = model.partition(":")
    if library == "torchvision":
        return next((Preprocessing.of(known) for known in _torchvision_weights(name) if Path(known.url).name == Path(file).name), None)
    if library == "timm":
        configs = [_timm().get_pretrained_cfg(known).to_dict() for known in _timm().list_pretrained(f"{name.partition('.')[0]}.*")]
        return next((Preprocessing.of(config) for config in configs if Path(config.get("url") or "").name == Path(file).name), None)
    return None


def _of_torchvision(model: str, name: str, weights: str) -> Published:
    import torchvision

    known = _torchvision_weights(name).__members__  # DEFAULT among them
    if weights not in known:
        raise _unknown(model, weights, [*known])
    chosen = known[weights]
    classes = tuple(chosen.meta["categories"] or ())  # features without a classifier have None
    preprocessing = _made_for(model, weights, chosen, len(classes))
    file = _in_torch_hub(chosen.url)
    with _explained(model, weights, f"remove {file}"):
        net = torchvision.models.get_model(name, weights=chosen)
    return Published(model, chosen.name, net.eval(), preprocessing, classes, chosen.url)


def _in_torch_hub(url: str) -> Path:
    """The file of `url` in torch.hub's folder, whole. Fetched here: torch.hub says so on standard output, and takes a damaged file for good."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    found = torch.hub.HASH_REGEX.search(file.name)
    sha256 = found[1] if found else ""
    return file if has_hash(file, sha256) else download(url, file, sha256)


def _torchvision_weights(name: str) -> type:
    import torchvision

    classifiers = torchvision.models.list_models(module=torchvision.models)
    if name not in classifiers:
        raise InputError(f"torchvision has no model {name!r}; near it: {_near(name, classifiers)}.")
    return torchvision.models.get_model_weights(name)


def _of_timm(model: str, name: str, weights: str) -> Published:
    timm = _timm()
    base, _, own = name.partition(".")
    if not timm.is_model(base):
        raise InputError(f"timm has no model {base!r}; near it: {_near(base, timm.list_models())}.")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")]
    default = own or timm.get_pretrained_cfg(base).tag
    tag = default if weights == DEFAULT else weights
    if tag not in tags or (own and tag != own):
        raise _unknown(model, tag, [own] if own in tags else tags)
    config = timm.get_pretrained_cfg(f"{base}.{tag}").to_dict()
    preprocessing = _made_for(model, tag, config, config["num_classes"])
    with _explained(model, tag, "try again with a network"), contextlib.redirect_stdout(sys.stderr):  # standard output is for results
        net = timm.create_model(f"{base}.{tag}", pretrained=True)
    source = config.get("hf_hub_id") or config.get("url")
    return Published(model, tag, net.eval(), preprocessing, imagenet_classes(), source)


def _timm():
    try:
        import timm
    except ImportError as error:
        raise InputError("timm is not installed: pip install 'resnet-nb[timm]'.") from error
    return timm


@contextlib.contextmanager
def _explained(model: str, weights: str, remedy: str):
    try:
        yield
    except Exception as error:  # the libraries, huggingface_hub and its HTTP client each have types of their own
        first = str(reason(error)).strip().split("\n")[0].rstrip(".")[:200]
        raise RunError(f"Cannot load {weights} of {model} ({type(error).__name__}: {first}): {remedy}, or give a local file.") from error


def _made_for(model: str, weights: str, metadata: object, classes: int) -> Preprocessing:
    if classes != len(imagenet_classes()):
        raise InputError(f"{weights} of {model} tell {classes:,} classes apart, not ImageNet's thousand: choose other weights.")
    try:
        return Preprocessing.of(metadata)
    except InputError as error:  # says what is the matter, and asks for options that only weights in a file take
        why = str(error).partition(":")[0]
        raise InputError(f"{weights} of {model}: {why}; choose other weights, or give them as a file with --resize and --crop.") from error


def _unknown(model: str, weights: str, known: Sequence[str]) -> InputError:
    return InputError(f"{model} has no weights {weights!r}: choose from {', '.join(known) or 'none, it was published without'}.")


def _near(name: str, known: Sequence[str]) -> str:
    return ", ".join(difflib.get_close_matches(name, known, 3)) or "none"


LIBRARIES = {"torchvision": _of_torchvision, "timm": _of_timm}
