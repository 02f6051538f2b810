"""Redundancy of nets that are trained here, kept with their records, or public; each as one table, and recorded.

    python -c "from resnet_nb.live import redundancy_runs as r; r.record_digits()"
    python -c "from resnet_nb.live import redundancy_runs as r; r.record_public({'wooyeolBaek': 'CHECKOUT', 'akamaster': 'CHECKOUT'}, 'DATA')"
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from resnet_nb import records
from resnet_nb.data import Data, load_data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.files import checksum
from resnet_nb.live.side_by_side import side_by_side
from resnet_nb.models import build_model, load_weights, read_weights
from resnet_nb.probes import redundancy, regauge
from resnet_nb.provenance import machine
from resnet_nb.recipes import Recipe, get_recipe
from resnet_nb.records import places
from resnet_nb.records.kept import WEIGHTS
from resnet_nb.testing.members import Given, build, find_weights
from resnet_nb.training.train import fit

STUDY, DIGITS, PUBLIC = "redundancy", "digits", "public-checkpoints"
WITHIN, BETWEEN = ["effective_rank", "participation", "scaled_rank", "correlation"], ["cka", "position_cka", "unexplained"]
IMAGES = 1_000  # of CIFAR-10's test images, drawn with seed 0


def drawn(data: Data, count: int = IMAGES, seed: int = 0) -> Tensor:
    """`count` test images, uint8 (count, C, H, W), drawn without replacement; all of them where there are no more."""
    order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(seed))
    return data.test.images[order[:count]]


def _named(table: pd.DataFrame, source: str, model: str, seed: int | None, **more: object) -> pd.DataFrame:
    family, depth = records.family_and_depth(model)
    what = {"source": source, "model": model, "family": family, "depth": depth, "seed": seed, **more}
    return pd.concat([pd.DataFrame([what] * len(table)), table], axis=1)


def trained(
    models: Sequence[str], seeds: Sequence[int], data: Data, recipe: Recipe, *, width: int | None = None, device: str = "auto"
) -> pd.DataFrame:
    """Train nets side by side and measure each on the test images, before training ("initial", batch statistics) and after it ("trained").

    Returns rows of `probes.redundancy` with source (the data's name), model, family, depth, seed, when, train_error and test_error (percent, after
    training). Give shallow nets first, so that the longest begin first.
    """
    jobs = [(model, seed, data, recipe, width, device) for model in models for seed in seeds]
    return pd.concat(side_by_side(_train_one, jobs, device), ignore_index=True)


def _train_one(model: str, seed: int, data: Data, recipe: Recipe, width: int | None, device: str) -> pd.DataFrame:
    net = build_model(model, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
    images = Normalisation.measured(data.train, recipe.normalise)(drawn(data))
    tables = {"initial": redundancy(net, images, batch_statistics=True)}
    done = fit(net, data, recipe.for_depth(records.family_and_depth(model)[1]), seed, device, progress=False)
    tables["trained"] = redundancy(done.net.cpu().eval(), images)
    errors = {"train_error": done.train.top1_error, "test_error": done.test.top1_error}
    return pd.concat([_named(table, data.name, model, seed, when=when, **errors) for when, table in tables.items()], ignore_index=True)


def gauge(
    model: str, data: Data, recipe: Recipe, seed: int = 0, *, width: int | None = None, block: int = 1, factors: Sequence[float] = (1, 3, 10, 30, 100)
) -> pd.DataFrame:
    """Train a plain net on the CPU, then rescale half of the channels of one state without changing the net's function, see `probes.regauge`.

    Returns one row a factor: factor, largest_change (of a score, as a share of the largest score), test_error (percent), the measures of the state
    itself, and those of the next state with it.
    """
    net = build_model(model, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
    images = Normalisation.measured(data.train, recipe.normalise)(data.test.images)
    done = fit(net, data, recipe.for_depth(records.family_and_depth(model)[1]), seed, "cpu", progress=False)
    rows, net = [], done.net.eval()
    with torch.no_grad():
        before = net(images)
        for factor in factors:
            changed = regauge(net, block, factor, channels=net.layer1[0].conv2.out_channels // 2)
            after = changed(images)
            states = redundancy(changed, images).query("kind == 'state'").set_index("block")
            error = 100 * float((after.argmax(1) != data.test.labels).float().mean())
            change = float((after - before).abs().max() / before.abs().max())
            rows.append([factor, change, error, *states.loc[block, WITHIN], *states.loc[block + 1, BETWEEN]])
    return pd.DataFrame(rows, columns=["factor", "largest_change", "test_error", *WITHIN, *BETWEEN])


def kept(study: str, data: Data, results: Path | None = None) -> pd.DataFrame | None:
    """The same of the weights that are kept beside a study's records, None where there are none. source: the study; train_error and test_error
    as recorded. data: the data set that the runs are of; others' are left out."""
    folder, tables = (results or places.results_dir()) / study, []
    for path in sorted(folder.glob(f"[!.]*{WEIGHTS}")):
        record = records.read_record(path.with_name(path.name.removesuffix(WEIGHTS) + ".json"))
        if record["data"]["fingerprint"] != data.fingerprint:
            continue
        found = find_weights(record["model"]["name"], str(path), Given())
        net = build(found, len(data.classes), data.channels).eval()
        errors = {name: record["final"][name] for name in ("train_error", "test_error")}
        table = redundancy(net, found.normalisation(drawn(data)))
        tables.append(_named(table, study, found.model, record["seed"], when="trained", **errors))
    return pd.concat(tables, ignore_index=True) if tables else None


def public(checkouts: Mapping[str, Path | str], data: Data) -> tuple[pd.DataFrame, list[dict]]:
    """The same of the public nets whose evaluations are recorded, and for each net where it is public, with its SHA-256.

    checkouts: a folder for each owner of weights, with the repository's files at the recorded commit or the weights files alone. Raises InputError
    where a file is absent or not the one that was evaluated.
    """
    tables, sources, images = [], [], drawn(data)
    for record in records.load_study(PUBLIC):
        owner, model = record["weights"]["repository"].split("/")[0], record["model"]
        if owner not in checkouts or record["data"]["fingerprint"] != data.fingerprint:
            continue
        net = build_model(model["name"], width=model["width"], conv_bias=model.get("conv_bias", False))
        load_weights(net, read_weights(_checked(Path(checkouts[owner]), record["weights"])), model["name"])
        errors = {f"{row['part']}_error": row["top1_error"] for row in record["results"] if row["protocol"] == "1-crop"}
        table = redundancy(net.eval(), _normalisation(record, data)(images))
        tables.append(_named(table, owner, model["name"], None, when="trained", **errors))
        sources.append({"model": model["name"], **record["weights"]})
    return pd.concat(tables, ignore_index=True), sources


def _checked(folder: Path, weights: Mapping[str, str]) -> Path:
    places = [folder / weights["path"], folder / Path(weights["path"]).name]
    found = next((place for place in places if place.is_file()), None)
    if found is None or checksum(found) != weights["sha256"]:
        raise InputError(f"{places[0]} is absent, or not the file that was evaluated: check out {weights['repository']} at {weights['commit']}.")
    return found


def _normalisation(record: dict, data: Data) -> Normalisation:
    said = record["normalisation"]
    return Normalisation.of_channels(said["mean"], said["std"]) if said["kind"] == "given" else Normalisation.measured(data.train, said["kind"])


def record_digits(seeds: Sequence[int] = (0, 1, 2, 3, 4), width: int = 8) -> Path:
    """Train and measure 20- and 32-layer pairs on the digits and file the table redundancy/digits."""
    provenance = machine(torch.device("cpu"))  # of the code as it was read
    data, recipe = load_data("digits"), get_recipe("quick-digits").replaced(evaluations=1)
    table = trained(("plain20", "resnet20", "plain32", "resnet32"), seeds, data, recipe, width=width)
    about = {"what": "Redundancy of plain and residual nets, before and after training on digits", "width": width, "recipe": recipe.name}
    about |= {"data": data.fingerprint, "images": len(data.test)}
    return _file(table, about, f"record_digits({tuple(seeds)}, {width})", DIGITS, provenance)


def record_gauge(width: int = 8) -> Path:
    """Rescale a trained plain net of 20 layers without changing its function and file the table redundancy/gauge."""
    provenance = machine(torch.device("cpu"))  # of the code as it was read
    data, recipe = load_data("digits"), get_recipe("quick-digits").replaced(evaluations=1)
    about = {"what": "One function, several representations: plain-20 on digits with channels rescaled", "width": width, "recipe": recipe.name}
    table = gauge("plain20", data, recipe, width=width)
    return _file(table, {**about, "data": data.fingerprint}, f"record_gauge({width})", "gauge", provenance)


def record_public(checkouts: Mapping[str, Path | str], root: Path | str) -> Path:
    """Measure the public CIFAR-10 nets and file the table redundancy/public; arguments as `public` and `load_data` have them."""
    provenance = machine(torch.device("cpu"))
    data = load_data("cifar10", root)
    table, sources = public(checkouts, data)
    about = {"what": "Redundancy of public plain and residual nets on CIFAR-10", "weights": sources, "data": data.fingerprint, "images": IMAGES}
    shown = ", ".join(f"'{owner}': CHECKOUT" for owner in checkouts)
    return _file(table, about, f"record_public({{{shown}}}, DATA)", "public", provenance)


def record_kept(study: str, root: Path | str) -> Path | None:
    """Measure the weights kept with a CIFAR-10 study's records and file the table redundancy/STUDY; None where none are kept."""
    provenance = machine(torch.device("cpu"))
    table = kept(study, load_data("cifar10", root))
    if table is None:
        return None
    about = {"what": f"Redundancy of the nets kept in the study {study}", "images": IMAGES}
    return _file(table, about, f"record_kept('{study}', DATA)", study, provenance)


def _file(table: pd.DataFrame, about: dict, call: str, name: str, provenance: dict) -> Path:
    command = f'python -c "from resnet_nb.live import redundancy_runs as r; r.{call}"'
    return records.file_table(table, {**about, "command": command, "provenance": provenance}, STUDY, name)
