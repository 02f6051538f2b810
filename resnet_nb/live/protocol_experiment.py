"""The quick rung of the protocol dispute: a small net of the digits, trained at one size or at several, then seen under every protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from resnet_nb.data import Data, Images, load_data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.findings.ladder import Rung
from resnet_nb.live.side_by_side import side_by_side
from resnet_nb.models import build_model
from resnet_nb.protocols import Protocol
from resnet_nb.protocols.choices import Choices, choose, small_images
from resnet_nb.protocols.heads import split, window_logits
from resnet_nb.protocols.recorded import views_of
from resnet_nb.protocols.scoring_runs import score
from resnet_nb.recipes import Recipe, get_recipe
from resnet_nb.records.views import Views
from resnet_nb.training.train import fit

NAMES = ("10-crop", "dense")  # what 1-crop and multi-scale average is among their views
SIDES = (16, 20, 24)  # pixels: a digit has 16
CANVAS, CORNER = 40, (20, 4)  # pixels: 7 x 7 windows of 16; where the digit's upper left corner lies


@dataclass(frozen=True, eq=False)
class Experiment:
    """Two nets of the digits, trained here, that differ in the sizes of their training images alone.

    one_size, several_sizes: their views of the test images, as recorded views hold them: ten crops, and the dense form at SIDES, with and without
    mirror images. canvas: (CANVAS, CANVAS) uint8, the first test image on black; label: its class; votes: `score_map` of the scale-trained net.
    """

    one_size: Views
    several_sizes: Views
    canvas: np.ndarray
    label: int
    votes: np.ndarray


def digits_experiment(seed: int = 0, *, model: str = "resnet20", width: int = 8, iterations: int = 200) -> Experiment:
    """Train both nets side by side, and score the test images under all four protocols."""
    length = f",iterations={iterations}" if iterations != get_recipe("quick-digits").iterations else ""
    recipes = [get_recipe(f"quick-digits{length},pad=2,normalise=channel-mean{scales}") for scales in ("", f",scales={'+'.join(map(str, SIDES))}")]
    data = load_data("digits")
    (one_size, _), (several_sizes, votes) = side_by_side(_train_and_view, [(recipe, data, seed, model, width) for recipe in recipes], "cpu")
    return Experiment(one_size, several_sizes, _canvas(data), int(data.test.labels[0]), votes)


def four_protocols(seen: Views) -> dict[str, Rung]:
    """The four protocols on an experiment's views, and the last three without mirror images: a mirrored digit is another sign."""
    crops, dense = seen.where(form="crop"), seen.where(form="dense")
    middle = dense.where(short=SIDES[1])
    rungs = {"1-crop": crops.where(place="centre", mirrored=False), "10-crop": crops, f"dense at {SIDES[1]}": middle, "multi-scale": dense}
    plain = {f"{name}, no mirrors": views.where(mirrored=False) for name, views in list(rungs.items())[1:]}
    return {name: Rung(views) for name, views in {**rungs, **plain}.items()}


def _train_and_view(recipe: Recipe, data: Data, seed: int, model: str, width: int) -> tuple[Views, np.ndarray]:
    net = build_model(model, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
    fit(net, data, recipe, seed, "cpu", progress=False)
    normalisation = Normalisation.measured(data.train, recipe.normalise)
    height, side = data.train.images.shape[2:]
    protocols = choose(NAMES, small_images(height, side), Choices(scales=SIDES))
    return live_views(net, data.test, protocols, normalisation, model), score_map(net, _canvas(data), normalisation, side)


def _canvas(data: Data) -> np.ndarray:
    return on_canvas(data.test.images[0, 0].numpy(), *CORNER)


def live_views(net: torch.nn.Module, images: Images, protocols: Sequence[Protocol], normalisation: Normalisation, name: str) -> Views:
    """The views of uint8 images (N, C, H, W) on the CPU under `protocols`, as `resnet-nb evaluate ... --save-scores` records them."""
    labels = images.labels.numpy()
    outcome = score([net], images.images, labels, protocols, [normalisation], keep_logits=True, device=torch.device("cpu"))
    about = {"model": {"name": name}, "weights": "trained here", "protocols": [protocol.to_dict() for protocol in protocols]}
    return views_of(outcome, protocols, labels, [f"{place}" for place in range(len(labels))], about)


def on_canvas(image: np.ndarray, top: int, left: int, side: int = CANVAS) -> np.ndarray:
    """A grey uint8 image (H, W) on a black canvas of side x side pixels, its upper left corner at (top, left)."""
    canvas = np.zeros((side, side), np.uint8)
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


@torch.no_grad()
def score_map(net: torch.nn.Module, image: np.ndarray, normalisation: Normalisation, crop: int) -> np.ndarray:
    """The dense form window by window, before the mean: a grey uint8 image (H, W) to softmax scores (classes, rows, columns).

    crop: side of the crops that the net was trained on; a window is its last map.
    """
    net = net.eval()
    parts = split(net, crop, 1)
    maps = parts.body(normalisation(torch.from_numpy(image)[None, None]))
    return window_logits(maps, parts.classifier, parts.window)[0].softmax(2).permute(2, 0, 1).numpy()
