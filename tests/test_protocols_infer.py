"""Scores of pictures equal those of the usual pipelines, picture by picture, however they are batched, ordered, shared or resumed."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from protocol_examples import photographs, randomised, small_resnet, write
from scipy.special import softmax
from torch import Tensor, nn
from torchvision import transforms
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, resize

from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.models import build_model
from resnet_nb.protocols import Chunk, Protocol, average, run
from resnet_nb.protocols.geometry import NAMES
from resnet_nb.protocols.heads import dense_scores, split
from resnet_nb.protocols.scoring import computing_in

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
USUAL = Normalisation.of_channels(list(MEAN), list(STD))
ONE, TEN = Protocol("1-crop", 72, 64, mirror=False), Protocol("10-crop", 72, 64)
DENSE, SEVERAL = Protocol("dense", crop=64, scales=(72,)), Protocol("multi-scale", crop=64, scales=(64, 72, 131))
ALL = (ONE, TEN, DENSE, SEVERAL)
CIFAR = [Protocol.cifar(name) for name in NAMES]
PAIRED = [0, 1, 2, 3, 4, 6, 5, 8, 7, 9]
ROUNDING = 1e-5
to_floats = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def scored(nets, pictures, protocols=ALL, normalisation=USUAL, **options) -> list[Chunk]:  # noqa: ANN001, ANN003
    return list(run(nets, pictures, protocols, normalisation, device="cpu", **options))


def averages(chunks: list[Chunk], protocol: int = 0) -> np.ndarray:
    return np.concatenate([chunk.results[protocol].scores for chunk in chunks])


def close(ours: np.ndarray, theirs: Tensor | np.ndarray, atol: float = ROUNDING) -> None:
    np.testing.assert_allclose(ours, np.asarray(theirs), rtol=0, atol=atol)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_ten_crops_equal_torchvisions_pipeline_picture_by_picture(interpolation: str) -> None:
    net = small_resnet()
    resize = transforms.Resize(72, transforms.InterpolationMode(interpolation))
    usual = transforms.Compose([resize, transforms.TenCrop(64), lambda crops: torch.stack([to_floats(crop) for crop in crops])])
    (chunk,) = scored(net, photographs(), [replace(TEN, interpolation=interpolation)], keep="logits")
    for place, picture in enumerate(photographs()):
        with torch.no_grad():
            logits = net(usual(picture))
        close(chunk.results[0].logits[0, place], logits[PAIRED], 1e-4)  # of logits up to about 10
        close(chunk.results[0].views[0, place], logits[PAIRED].softmax(1))
        close(chunk.results[0].scores[place], logits.softmax(1).mean(0))


def test_logits_are_averaged_before_the_softmax_where_the_rule_says_so() -> None:
    net, usual = small_resnet(), transforms.Compose([transforms.Resize(72), transforms.TenCrop(64)])
    (chunk,) = scored(net, photographs(), [replace(TEN, rule="logits")])
    for place, picture in enumerate(photographs()):
        with torch.no_grad():
            close(chunk.results[0].scores[place], net(torch.stack([to_floats(crop) for crop in usual(picture)])).mean(0).softmax(0))


def test_one_crop_equals_the_preset_of_torchvisions_weights() -> None:
    net, preset = small_resnet(), transforms._presets.ImageClassification(crop_size=64, resize_size=72)
    with torch.no_grad():
        theirs = torch.cat([net(preset(picture).unsqueeze(0)) for picture in photographs()]).softmax(1)
    close(averages(scored(net, photographs(), [ONE])), theirs)


@pytest.mark.parametrize("rule", ["softmax", "logits", "pooled"])
def test_multi_scale_equals_whole_pictures_one_by_one_in_float64(rule: str) -> None:
    net = small_resnet().double()
    body, classifier, window = split(net, 64)
    (chunk,) = scored(net, photographs(), [replace(SEVERAL, rule=rule)])
    for place, picture in enumerate(photographs()):
        passes = []
        for short, mirror in itertools.product(SEVERAL.scales, (False, True)):
            images = USUAL(transforms.functional.pil_to_tensor(transforms.Resize(short)(picture)).unsqueeze(0)).double()
            with torch.no_grad():
                found = dense_scores(body(images.flip(3) if mirror else images), classifier, window)
            passes.append({"softmax": found.softmax, "logits": found.logits, "pooled": found.pooled.softmax(1)}[rule])
        mean = torch.stack(passes).mean(0)[0]
        close(chunk.results[0].scores[place], mean.softmax(0) if rule == "logits" else mean, 1e-6)


def test_a_picture_that_is_exactly_one_crop_scores_as_in_the_plain_forward_pass() -> None:
    net, picture = small_resnet(), photographs()[0].resize((64, 64))
    with torch.no_grad():
        plain = net(to_floats(picture).unsqueeze(0)).softmax(1)
    for protocol in (Protocol("1-crop", crop=64, mirror=False), Protocol("dense", crop=64, scales=(64,), mirror=False)):
        close(averages(scored(net, [picture], [protocol])), plain)


def test_each_scale_counts_once_whatever_its_number_of_windows() -> None:
    net = small_resnet()
    apart = [averages(scored(net, photographs(), [replace(DENSE, scales=(short,))])) for short in SEVERAL.scales]
    close(averages(scored(net, photographs(), [SEVERAL])), np.mean(apart, 0))


def cifar(count: int = 6, seed: int = 0) -> tuple[Tensor, Normalisation]:
    """Random images of 32x32 pixels, and a normalisation with a mean per pixel."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return pixels, Normalisation(torch.rand(3, 32, 32, generator=generator), torch.full((3, 1, 1), 0.25))


def cifar_net() -> nn.Module:
    return randomised(build_model("resnet8", width=4))


def test_cifars_ten_crops_come_from_the_normalised_image_padded_with_zeros() -> None:
    net, (pixels, normalisation) = cifar_net(), cifar()
    (chunk,) = scored(net, pixels, [Protocol.cifar("10-crop")], normalisation)
    padded = F.pad(normalisation(pixels), (4, 4, 4, 4))
    views = [view for image in (padded, padded.flip(3)) for view in transforms.functional.five_crop(image, 32)]
    with torch.no_grad():
        close(chunk.results[0].scores, sum(net(view).softmax(1) for view in views) / 10)


def test_cifars_single_view_is_the_whole_image() -> None:
    net, (pixels, normalisation) = cifar_net(), cifar()
    with torch.no_grad():
        close(averages(scored(net, pixels, [Protocol.cifar("1-crop")], normalisation)), net(normalisation(pixels)).softmax(1))


def test_cifar_images_are_enlarged_by_pillow_then_normalised_with_the_means_of_the_channels() -> None:
    net, (pixels, normalisation) = cifar_net(), cifar()
    larger = [Image.fromarray(image.permute(1, 2, 0).numpy()).resize((40, 40), Image.Resampling.BILINEAR) for image in pixels]
    images = torch.stack([transforms.functional.pil_to_tensor(image) for image in larger])
    body, classifier, window = split(net, 32)
    with torch.no_grad():
        found = dense_scores(body((images / 255 - normalisation.mean.mean((1, 2), keepdim=True)) / 0.25), classifier, window)
    close(averages(scored(net, pixels, [replace(Protocol.cifar("dense"), mirror=False)], normalisation)), found.softmax)


def test_grey_images_in_a_tensor_are_enlarged_too() -> None:
    net, (pixels, _) = randomised(build_model("resnet8", width=4, in_channels=1)), cifar()
    (chunk,) = scored(net, pixels[:, :1], [Protocol.cifar("multi-scale")], Normalisation.of_channels([0.5]))
    assert chunk.results[0].scores.shape == (6, 10)


@pytest.mark.parametrize("options", [{"batch": 1}, {"batch": 3}, {"batch": 1000}, {"workers": 1}, {"workers": 4}, {"chunk": 1}, {"chunk": 2}])
def test_scores_do_not_depend_on_batch_workers_and_chunk(options: dict) -> None:
    whole, parts = scored(small_resnet(), photographs()), scored(small_resnet(), photographs(), **options)
    for protocol in range(len(ALL)):
        close(averages(parts, protocol), averages(whole, protocol))


def test_scores_do_not_depend_on_the_order_of_pictures_or_on_the_other_protocols() -> None:
    pictures, order, net = photographs(), [3, 0, 4, 2, 1], small_resnet()
    whole, shuffled = scored(net, pictures), scored(net, [pictures[place] for place in order])
    for number, protocol in enumerate(ALL):
        close(averages(shuffled, number), averages(whole, number)[order])
        close(averages(scored(net, pictures, [protocol])), averages(whole, number))


class _Counting(nn.Module):
    """A net that notes how many images each batch has, for all copies of it; `len` is what tracing stumbles over."""

    counts: list[int] = []

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        self.counts.append(len(images))
        return self.net(images)


def test_protocols_share_their_views_and_crops_of_all_pictures_fill_the_batches() -> None:
    chunks = run(_Counting(small_resnet()), photographs(), [ONE, TEN, replace(TEN, rule="logits")], USUAL, device="cpu", batch=1)
    _Counting.counts.clear()  # those of the probes
    list(chunks)
    full = 224**2 // 64**2
    assert _Counting.counts == [full] * (50 // full) + [50 % full]


def test_an_ensemble_averages_its_nets_scores() -> None:
    nets = [small_resnet(seed) for seed in range(3)]
    other = Normalisation.of_channels([0.5] * 3)
    alone = [scored(net, photographs(), normalisation=means) for net, means in zip(nets, (USUAL, other, USUAL), strict=True)]
    together = scored(nets, photographs(), normalisation=[USUAL, other, USUAL], keep="views")
    for protocol in range(len(ALL)):
        close(averages(together, protocol), np.mean([averages(chunks, protocol) for chunks in alone], 0))
    assert together[0].results[1].views.shape == (3, 5, 10, 10)


def test_an_ensemble_by_logits_averages_views_within_a_net_and_softmax_scores_between_nets() -> None:
    nets, ten = [small_resnet(seed) for seed in range(2)], replace(TEN, rule="logits")
    alone = [scored(net, photographs(), [ten], keep="logits") for net in nets]
    by_hand = np.mean([softmax(np.concatenate([chunk.results[0].logits[0] for chunk in chunks]).mean(1), axis=1) for chunks in alone], 0)
    close(averages(scored(nets, photographs(), [ten])), by_hand)


def test_coarser_protocols_are_recomputed_from_the_views_without_the_net() -> None:
    (chunk,) = scored([small_resnet(0), small_resnet(1)], photographs(), keep="logits")
    one, ten, dense, several = chunk.results
    assert np.array_equal(average(ten.views, ten.logits, "softmax"), ten.scores)
    close(average(ten.views[:, :, 4:5], None, "softmax"), one.scores, 1e-7)
    at_72 = [view.short == 72 for view in SEVERAL.views()]
    close(average(several.views[:, :, at_72], None, "softmax"), dense.scores, 1e-7)
    (logits,) = scored([small_resnet(0), small_resnet(1)], photographs(), [replace(SEVERAL, rule="logits")])
    assert np.array_equal(average(None, several.logits, "logits"), logits.results[0].scores)
    assert np.array_equal(ten.predictions, ten.scores.argmax(1))


def test_views_are_returned_on_demand_alone() -> None:
    kept = {keep: scored(small_resnet(), photographs()[:1], [TEN], keep=keep)[0].results[0] for keep in (None, "views", "logits")}
    assert [(one.views is None, one.logits is None) for one in kept.values()] == [(True, True), (False, True), (False, False)]


def odd_pictures(folder: Path) -> dict[str, Path]:
    """Pictures that torchvision's loader takes in its own way."""
    picture = photographs()[0]
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown a quarter turn to the right
    saved = {
        "grey.png": (picture.convert("L"), {}),
        "cmyk.jpg": (picture.convert("CMYK"), {}),
        "alpha.png": (Image.merge("RGBA", (*picture.split(), picture.convert("L"))), {}),
        "palette.png": (picture.convert("P"), {}),
        "rotated.jpg": (picture, {"exif": turned}),
        "small.png": (picture.resize((30, 20)), {}),
    }
    for name, (content, options) in saved.items():
        content.save(folder / name, **options)
    return {name: folder / name for name in saved}


def test_odd_pictures_are_read_as_torchvisions_loader_reads_them(tmp_path: Path) -> None:
    paths = list(odd_pictures(tmp_path).values())
    (chunk,) = scored(small_resnet(), paths)
    assert chunk.failures == () and chunk.names == tuple(map(str, paths))
    for protocol in range(len(ALL)):
        close(chunk.results[protocol].scores, averages(scored(small_resnet(), [pil_loader(path) for path in paths]), protocol))


def test_unreadable_pictures_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = write(tmp_path, photographs()[:2])
    bad = [tmp_path / name for name in ("truncated.jpg", "deep.png", "text.png", "gone.png", "thread.png")]
    photographs()[0].save(bad[0])
    bad[0].write_bytes(bad[0].read_bytes()[:-2000])
    Image.fromarray(np.full((50, 60), 40_000, np.uint16)).save(bad[1])
    bad[2].write_text("no picture")
    Image.new("RGB", (2, 9000)).save(bad[4])
    (chunk,) = scored(small_resnet(), [good[0], *bad, good[1]], [ONE, replace(DENSE, scales=(256,))])
    assert list(chunk.places) == [0, 6] and chunk.names == (str(good[0]), str(good[1]))
    assert [failure.place for failure in chunk.failures] == [1, 2, 3, 4, 5]
    for failure, path in zip(chunk.failures, bad, strict=True):
        assert failure.name == str(path) and str(path) in failure.reason
    close(chunk.results[0].scores, averages(scored(small_resnet(), good, [ONE])))


def test_pictures_too_small_for_crops_without_a_resize_are_refused_and_a_chunk_may_hold_none() -> None:
    small, (chunk, _) = photographs()[4], scored(small_resnet(), [photographs()[4]] * 3, [replace(ONE, resize=None)], chunk=2)
    assert len(chunk.failures) == 2 and f"{small.width}x{small.height}" in chunk.failures[0].reason and "picture 1" in chunk.failures[1].reason
    assert chunk.results[0].scores.shape == (0, 10)


def test_deep_pictures_from_memory_are_refused_as_those_from_files() -> None:
    (chunk,) = scored(small_resnet(), [Image.fromarray(np.zeros((80, 80), np.uint16))], [ONE])
    assert "8 bits" in chunk.failures[0].reason


def test_finished_chunks_are_skipped_unopened_and_the_rest_is_the_same(tmp_path: Path) -> None:
    paths = write(tmp_path, photographs())
    whole = scored(small_resnet(), paths, chunk=2)
    paths[0].unlink(), paths[4].unlink()
    (rest,) = scored(small_resnet(), paths, chunk=2, skip={0, 2})
    assert rest.number == 1 and list(rest.places) == [2, 3] and rest.failures == ()
    assert all(np.array_equal(ours.scores, theirs.scores) for ours, theirs in zip(rest.results, whole[1].results, strict=True))


def test_no_more_than_two_chunks_are_held_at_a_time() -> None:
    taken = 0

    def endless() -> Iterator[Image.Image]:
        nonlocal taken
        for picture in itertools.cycle(photographs()):
            taken += 1
            yield picture

    for chunk in itertools.islice(run(small_resnet(), endless(), [ONE], USUAL, device="cpu", chunk=3), 4):
        assert taken <= 3 * (chunk.number + 2)


def test_progress_adds_up_to_the_pictures_readable_or_not(tmp_path: Path) -> None:
    shares: list[float] = []
    scored(small_resnet(), [*photographs(), tmp_path / "gone.png"], chunk=4, batch=1, advance=shares.append)
    assert sum(shares) == pytest.approx(6) and len(shares) > 10


def test_lower_precision_is_used_when_asked_for_and_its_flipped_predictions_are_counted() -> None:
    pictures, net = photographs() * 2, small_resnet(classes=100)
    exact, low = (averages(scored(net, pictures, [TEN], precision=precision)) for precision in ("float32", "bfloat16"))
    assert np.abs(low - exact).max() > 1e-5
    chunks = scored(net, pictures, [TEN], precision="bfloat16", chunk=5, compare_every=1)
    flipped = sum(chunk.results[0].flipped for chunk in chunks)
    assert flipped == (low.argmax(1) != exact.argmax(1)).sum() and sum(chunk.results[0].compared for chunk in chunks) == 10
    some = scored(net, pictures, [TEN], precision="bfloat16", chunk=5, compare_every=2)
    assert [chunk.results[0].compared for chunk in some] == [5, 0]


def test_float32_leaves_tf32_out_and_the_settings_as_they_were() -> None:
    setting = torch.backends.cudnn.conv
    before = setting.fp32_precision
    with computing_in("float32", torch.device("cpu")):
        assert setting.fp32_precision == "ieee"
    with computing_in("tf32", torch.device("cpu")):
        assert setting.fp32_precision == "tf32"
    assert setting.fp32_precision == before


def test_the_tensor_resize_differs_by_little_and_does_differ() -> None:
    pil, tensor = (averages(scored(small_resnet(), photographs(), [replace(SEVERAL, resizer=resizer)])) for resizer in ("pil", "tensor"))
    assert 0 < np.abs(pil - tensor).max() < 0.02


def test_the_tensor_resize_is_torchvisions_antialiased_one() -> None:
    protocol = replace(ONE, resizer="tensor")
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 150, 200), dtype=np.uint8))  # twice as large: aliasing would show
    resized = resize(pixels, [protocol.resize], InterpolationMode.BILINEAR, antialias=True)
    net = small_resnet().eval()
    with torch.no_grad():
        expected = net(USUAL(center_crop(resized, [protocol.crop] * 2))).softmax(1)
    close(averages(scored(net, pixels, [protocol])), expected.numpy())


def test_the_net_that_is_given_is_left_as_it_is() -> None:
    net = small_resnet().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    scored(net, photographs())
    assert net.training and all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    close(averages(scored(net, photographs())), averages(scored(small_resnet(), photographs())))


def test_crops_serve_any_classifier_and_dense_forms_refuse_some() -> None:
    net = build_model("timm:vit_tiny_patch16_224").eval()
    (chunk,) = scored(net, photographs()[:1], [Protocol.paper("1-crop")])
    with torch.no_grad():
        preset = transforms._presets.ImageClassification(crop_size=224)
        close(chunk.results[0].scores, net(preset(photographs()[0]).unsqueeze(0)).softmax(1), 1e-5)
    with pytest.raises(InputError, match="VisionTransformer shows no global average pool"):
        run(net, [], [Protocol.paper("dense")], USUAL, device="cpu")


@pytest.mark.parametrize(
    "wrong", [{"precision": "int8"}, {"keep": "all"}, {"chunk": 0}, {"batch": 0}, {"workers": 0}, {"protocols": []}, {"normalisation": [USUAL] * 2}]
)
def test_what_cannot_be_run_is_refused_before_any_picture_is_read(wrong: dict) -> None:
    options = {"protocols": ALL, "normalisation": USUAL, "device": "cpu"} | wrong
    with pytest.raises(InputError):
        run(small_resnet(), None, options.pop("protocols"), options.pop("normalisation"), **options)


def test_scores_that_are_not_numbers_are_an_error() -> None:
    net = small_resnet()
    nn.init.constant_(net.fc.weight, float("nan"))
    with pytest.raises(InputError, match="not numbers"):
        scored(net, photographs(), [ONE])


@pytest.mark.gpu
def test_a_gpu_gives_the_cpus_scores() -> None:
    for pictures, net, protocols, normalisation in ((photographs(), small_resnet(), ALL, USUAL), (cifar()[0], cifar_net(), CIFAR, cifar()[1])):
        cpu = scored(net, pictures, protocols, normalisation)
        gpu = list(run(net, pictures, protocols, normalisation, device="cuda"))
        for number in range(len(protocols)):
            close(averages(gpu, number), averages(cpu, number), 1e-4)
