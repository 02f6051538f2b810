"""Nets at initialisation, seed by seed: their atlases, streams and branches as one table each; and the tables that are recorded.

    python -c "from resnet_nb.live import gradient_runs as g; g.record_births('DATA')"                CIFAR-10, 10 minutes on a core
    python -c "from resnet_nb.live import gradient_runs as g; g.record_trained('CHECKOUT', 'DATA')"   a minute; wooyeolBaek's weights
    python -c "from resnet_nb.live import gradient_runs as g; g.record_shattering()"                  a few minutes
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from resnet_nb import records
from resnet_nb.data import Data, load_data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.files import checksum
from resnet_nb.live.side_by_side import side_by_side
from resnet_nb.models import build_model, load_weights, read_weights
from resnet_nb.models.nets import Net
from resnet_nb.probes.atlas import atlas, over_seeds, stream
from resnet_nb.probes.birth import birth_shares, fixup, skipinit
from resnet_nb.probes.shattering import table as shattering_table
from resnet_nb.provenance import machine
from resnet_nb.recipes import Recipe, get_recipe
from resnet_nb.records.kept import TRACE_COLUMNS, stage_of
from resnet_nb.training.train import fit

STUDY = "gradients"
PUBLIC, OWNER = "public-checkpoints", "wooyeolBaek"  # who alone published plain nets
IMAGES = 128
SEEDS = (0, 1, 2)
PROBES = {"layers": atlas, "blocks": stream}
WAYS: dict[str, tuple[str, str, Callable[[Net], Net]]] = {  # to be born: normalisation, initialisation, and what is changed then
    "normalised": ("batch", "he-fan-in", lambda net: net),
    "zero last scale": ("batch", "zero-last-scale", lambda net: net),
    "no normalisation": ("none", "he-fan-in", lambda net: net),
    "SkipInit": ("none", "he-fan-in", skipinit),
    "Fixup": ("none", "he-fan-in", fixup),
}


@dataclass(frozen=True)
class Setting:
    """One kind of net: family "plain" or "residual", norm, init and activation as in `build_model`."""

    family: str
    norm: str = "batch"
    init: str = "he-fan-in"
    activation: str = "relu"

    def build(self, depth: int, data: Data, seed: int, width: int | None) -> Net:
        """The net of that depth, in training mode."""
        name = f"{'resnet' if self.family == 'residual' else 'plain'}{depth}"
        made = {"norm": self.norm, "init": self.init, "activation": self.activation}
        return build_model(name, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed, **made).train()


TELLING = (  # those of the notebook's figures
    Setting("plain"),
    Setting("plain", init="small"),
    Setting("residual"),
    Setting("residual", init="zero-last-scale"),
    Setting("plain", "none"),
    Setting("plain", "none", "glorot"),
    Setting("plain", "none", "pytorch"),
    Setting("plain", "none", "small"),
    Setting("plain", "none", "glorot", "sigmoid"),
    Setting("plain", "none", "glorot", "tanh"),
    Setting("plain", "none", "delta-orthogonal"),
    Setting("plain", "none", "delta-orthogonal", "tanh"),
    Setting("plain", "none", "delta-orthogonal", "none"),
    Setting("residual", "none"),
)


def first_images(data: Data, count: int = IMAGES) -> tuple[torch.Tensor, torch.Tensor]:
    """The first `count` training images of a random order, with the pixel mean taken away, and their labels: (N, C, H, W) float32, (N,) int64."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:count]
    normalisation = Normalisation.measured(data.train, "pixel-mean")
    return normalisation(data.train.images[order]), data.train.labels[order].long()


def births(
    settings: Sequence[Setting], depths: Sequence[int], data: Data, seeds: Sequence[int] = SEEDS, *, width: int | None = None, count: int = IMAGES
) -> pd.DataFrame:
    """Atlases and streams at initialisation: one row a layer ("rows" is "layers") and a block ("blocks"), geometric means over the seeds.

    Columns family, depth, norm, init, activation, rows, then those of `atlas`; a block has no weights, so these are missing there.
    """
    images, labels = first_images(data, count)
    tables = []
    with denormals_flushed():
        for setting in settings:
            for depth in depths:
                nets = [setting.build(depth, data, seed, width) for seed in seeds]
                for rows, probe in PROBES.items():
                    what = {"family": setting.family, "depth": depth, "norm": setting.norm, "init": setting.init, "activation": setting.activation}
                    tables.append(over_seeds([probe(net, images, labels) for net in nets]).assign(**what, rows=rows))
    return pd.concat(tables, ignore_index=True)


def branches(depth: int, data: Data, seeds: Sequence[int] = SEEDS, *, width: int | None = None, count: int = IMAGES) -> pd.DataFrame:
    """`birth_shares` of residual nets of one depth born in each of WAYS: columns way, seed, and those of `birth_shares`."""
    images, _ = first_images(data, count)
    tables = []
    for way, (norm, init, change) in WAYS.items():
        for seed in seeds:
            net = change(Setting("residual", norm, init).build(depth, data, seed, width))
            tables.append(birth_shares(net, images).assign(way=way, seed=seed))
    return pd.concat(tables, ignore_index=True)


def trained(checkout: Path | str, data: Data, *, count: int = IMAGES) -> tuple[pd.DataFrame, list[dict]]:
    """Atlases and streams of OWNER's public nets whose evaluations are recorded, in training mode; and where each is public, with its SHA-256.

    checkout: the repository's files at the recorded commit. Rows as in `births`, with columns model, family, depth, rows, and those of `atlas`.
    Raises InputError where a file is absent or not the one that was evaluated.
    """
    images, labels = first_images(data, count)
    tables, sources = [], []
    for record in records.load_study(PUBLIC):
        weights, model = record["weights"], record["model"]
        if not weights["repository"].startswith(f"{OWNER}/"):
            continue
        path = Path(checkout) / weights["path"]
        if not path.is_file() or checksum(path) != weights["sha256"]:
            raise InputError(f"{path} is absent, or not the file that was evaluated: check out {weights['repository']} at {weights['commit']}.")
        net = build_model(model["name"], width=model["width"], conv_bias=model.get("conv_bias", False))
        load_weights(net, read_weights(path), model["name"])
        family, depth = records.family_and_depth(model["name"])
        for rows, probe in PROBES.items():
            tables.append(probe(net.train(), images, labels).assign(model=model["name"], family=family, depth=depth, rows=rows))
        sources.append({"model": model["name"], **weights})
    return pd.concat(tables, ignore_index=True), sources


def traced(
    runs: Mapping[str, tuple[str, Recipe]], data: Data, updates: int, seed: int = 0, *, width: int | None = None, device: str = "auto"
) -> pd.DataFrame:
    """Train nets for a few updates side by side, and look at their layers: {what the run is: (model, recipe)}.

    Returns rows of `kept.TRACE_COLUMNS` with columns change (what the run is) and stage.
    """
    jobs = [(name, model, recipe, data, updates, seed, width, device) for name, (model, recipe) in runs.items()]
    return pd.concat(side_by_side(_trace_one, jobs, device), ignore_index=True)


def first_steps(depth: int, data: Data, updates: int, seed: int = 0, *, width: int | None = None, device: str = "auto") -> pd.DataFrame:
    """`traced` for a plain net at the data's usual rate, the same with its norms kept, and the residual net."""
    recipe = get_recipe(data=data.name).replaced(drops=(), evaluations=1, warmup_iterations=0)
    kept = recipe.replaced(keep_norms=True)
    runs = {"plain": (f"plain{depth}", recipe), "plain, norms kept": (f"plain{depth}", kept), "residual": (f"resnet{depth}", recipe)}
    return traced(runs, data, updates, seed, width=width, device=device)


def _trace_one(name: str, model: str, recipe: Recipe, data: Data, updates: int, seed: int, width: int | None, device: str) -> pd.DataFrame:
    net = build_model(model, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
    done = fit(net, data, recipe, seed, device, iterations=updates, trace=True, progress=False)
    table = pd.DataFrame(done.trace, columns=list(TRACE_COLUMNS))
    return table.assign(change=name, stage=table["layer"].map(stage_of))


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Numbers under 1e-38 count as zero inside the block: where gradients vanish, a CPU takes a hundred times longer for them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def record_births(root: Path | str, *, depths: Sequence[int] = (20, 56), deepest: Sequence[int] = (110,)) -> None:
    """Record `births` of TELLING and `branches` on CIFAR-10 in results/gradients/; the first four settings at `deepest` as well."""
    data = load_data("cifar10", root)
    everywhere = births(TELLING, depths, data)
    deep = births([Setting("plain"), Setting("residual"), Setting("plain", "none"), Setting("residual", "none")], deepest, data)
    what = f"Layers and blocks at initialisation, CIFAR-10 ({data.fingerprint}), {IMAGES} images, geometric means over seeds {SEEDS}"
    _file(pd.concat([everywhere, deep], ignore_index=True), what, "births", "record_births('DATA')")
    _file(branches(110, data), f"Branches of residual nets at initialisation, CIFAR-10, {IMAGES} images", "branches", "record_births('DATA')")


def record_trained(checkout: Path | str, root: Path | str) -> None:
    """Record `trained` on CIFAR-10 in results/gradients/."""
    data = load_data("cifar10", root)
    table, sources = trained(checkout, data)
    what = f"Layers and blocks of public trained nets in training mode, CIFAR-10 ({data.fingerprint}), {IMAGES} images"
    _file(table, what, "trained", "record_trained('CHECKOUT', 'DATA')", weights=sources)


def record_shattering(seeds: int = 20) -> None:
    """Record the autocorrelations of `probes.shattering.TELLING` in results/gradients/."""
    found = shattering_table(seeds).rename(columns=str).rename_axis("net").reset_index()
    _file(found, f"Autocorrelation of the gradient by lag, mean over {seeds} seeds", "shattering", "record_shattering()")


def _file(table: pd.DataFrame, what: str, name: str, call: str, **more: object) -> None:
    command = f'python -c "from resnet_nb.live import gradient_runs as g; g.{call}"'
    records.file_table(table, {"what": what, **more, "command": command, "provenance": machine(torch.device("cpu"))}, STUDY, name)
