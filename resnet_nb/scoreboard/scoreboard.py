"""The scoreboard: recorded runs beside the published numbers that they can be compared with; it imports no torch.

A number is compared only where it was made as the published one was: the paper's net at its width, on CIFAR-10, all
50,000 training images, the paper's recipe to its end. Where a run differs, the board says how, and compares nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from resnet_nb.published import PAPER_TABLE6, cifar_errors, fact
from resnet_nb.recipes import RECIPES, SILENT, completed
from resnet_nb.records import all_records, family_and_depth, of_kind
from resnet_nb.stats import FEWEST_RUNS, prediction_interval, reproduced, wilson_interval

MARGIN = 0.6  # points; what five seeds with a standard deviation of 0.2 predict within: fixed before any run was made
OPEN = ("momentum_form", "decay_on", "border", "statistics")  # fields of a recipe of which the paper says nothing
SIZES = {"digits": "16x16 ", "cifar10": "32x32 ", "cifar100": "32x32 "}

COLUMNS = [
    "model", "width", "init", "norm", "data", "recipe", "iterations", "split", "protocol", "runs", "seeds", "mean", "std",
    "low", "high", "interval", "source_label", "published", "published_std", "published_runs", "printed", "approximate", "bound",
    "verified", "fact_id", "verdict", "reason", "remark",
]  # fmt: skip
UNRECORDED = "no full-length run recorded"
COUNTS = ["width", "iterations", "runs", "published_runs"]


@dataclass(frozen=True)
class Setting:
    """All that decides a run's numbers but its seed."""

    data: str
    fingerprint: str
    model: str
    width: int | None
    init: str
    norm: str
    recipe: str
    iterations: int
    split: str
    protocol: str
    test_images: int
    fields: tuple[tuple[str, str], ...]  # of the recipe: one name may have stood for two

    @classmethod
    def of(cls, record: dict) -> "Setting":
        model, data, recipe = record["model"], record["data"], record["recipe"]
        net = model["name"].removeprefix("cifar:").removesuffix("-A")  # both are understood
        fields = tuple(sorted((name, str(value)) for name, value in completed(recipe).items() if name not in SILENT))
        return cls(
            data["name"], data["fingerprint"], net, model["width"], model["init"], model.get("norm", "batch"), recipe["name"], record["iterations"],
            data["split"], record["protocol"], data["test_images"], fields,
        )  # fmt: skip

    @property
    def order(self) -> tuple:
        family, depth = family_and_depth(self.model)
        return self.data, family or "", depth or 0, self.model, str(self)

    def differences(self) -> Iterator[str]:
        """What sets these runs apart from the published ones, each a phrase; nothing for runs that can be compared."""
        steps = fact("q.stop").value
        if self.data != "cifar10":
            yield f"{self.data}: nothing published"
            return
        if self.model not in set(_published()["model"]):
            yield f"{self.model}: nothing published"
            return
        if self.width != 16:
            yield f"width {self.width}, the paper's is 16: another net"
        if self.init != "he-fan-in":
            yield f"initialisation {self.init}: not the paper's"
        if self.norm != "batch":
            yield f"normalisation {self.norm}: not the paper's"
        if self.iterations < steps:
            yield f"{self.iterations:,} of {steps:,} iterations: speed, not the end"
        elif changed := self._changed():
            yield f"recipe {self.recipe}: {' and '.join(changed)} not as in the paper's"
        if self.split != "all":
            yield f"split {self.split}: not trained on all 50,000 images"
        if self.protocol != "1-crop":
            yield f"protocol {self.protocol}: not the paper's single view"

    def _changed(self) -> list[str]:
        """The fields of the recipe, with their values, that are not as in `paper-cifar` for this depth."""
        usual = completed(RECIPES["paper-cifar"].for_depth(family_and_depth(self.model)[1]).as_dict())
        changed = {name: value for name, value in self.fields if value != str(usual.get(name))}
        if self.warmup_unknown and changed.get("warmup_iterations") == "0":
            del changed["warmup_iterations"]
        return [f"{name} {value}" for name, value in changed.items()]

    @property
    def warmup_unknown(self) -> bool:
        """Whether the paper leaves open if the net was warmed up: it says so of ResNet-110, and nothing of the plain net of that depth."""
        family, depth = family_and_depth(self.model)
        return family == "plain" and depth >= RECIPES["paper-cifar"].warmup_from_depth


def scoreboard(records: Iterable[dict] | None = None) -> pd.DataFrame:
    """One row for each setting with recorded runs and each published number beside it; test errors in percent.

    records: those to show; None for all that are recorded. Where nothing published is comparable, one row says why in
    `remark`; published numbers without a comparable run follow, with 0 runs. A seed counts once in a setting, however
    many studies hold it. Columns: the setting; runs, seeds, mean, std (of runs), low and high (95 %, of what `interval`
    says: "one more run" from three runs on, else "test images", what their number leaves open); source_label, published
    (a mean where one is printed), published_std, published_runs, printed (the best run where that was printed first),
    approximate, bound, verified, fact_id; verdict (`stats.reproduced`); reason, of a verdict "not reproduced": what most likely
    makes the difference, the likeliest first; remark, which has any fault of the code behind the published number.
    """
    published = _published()
    rows, met = [], set()
    # published weights, evaluated again, confirm a published number and are no second draw of it: training runs alone are compared
    for setting, errors in _by_setting(of_kind("training", all_records() if records is None else records)):
        differences = list(setting.differences())
        if differences:
            rows.append({**_measured(setting, errors), "remark": "; ".join(differences)})
            continue
        met.add(setting.model)
        for number in published[published["model"] == setting.model].to_dict("records"):
            rows.append({**_beside(number, list(errors.values()), setting), **_measured(setting, errors)})
    missing = published[~published["model"].isin(met)].sort_values(["family", "depth"], kind="stable")
    for number in missing.to_dict("records"):
        rows.append({**_beside(number, []), "runs": 0, "seeds": []})
    return pd.DataFrame(rows, columns=COLUMNS).astype({name: "Int64" for name in COUNTS})


def _published() -> pd.DataFrame:
    table = cifar_errors()
    names = table["family"].map({"plain": "plain", "residual": "resnet"})
    return table.assign(model=names + table["depth"].astype(str))


def _by_setting(records: Iterable[dict]) -> list[tuple[Setting, dict[int, float]]]:
    """Each setting with its test errors by seed, data sets and depths in order; runs that ended at a loss were made for their length."""
    groups: dict[Setting, dict[int, float]] = defaultdict(dict)
    for record in records:
        if record["recipe"].get("stop_at_loss"):
            continue
        groups[Setting.of(record)].setdefault(record["seed"], record["final"]["test_error"])
    return [(setting, groups[setting]) for setting in sorted(groups, key=lambda setting: setting.order)]


def _measured(setting: Setting, errors: dict[int, float]) -> dict:
    values = list(errors.values())
    mean, enough = float(np.mean(values)), len(values) >= FEWEST_RUNS
    wrong = round(mean * setting.test_images / 100)
    low, high = prediction_interval(values) if enough else wilson_interval(wrong, setting.test_images)
    return {
        **{name: value for name, value in vars(setting).items() if name in COLUMNS},
        "protocol": f"{setting.protocol}: the whole {SIZES.get(setting.data, '')}image",
        "runs": len(values),
        "seeds": sorted(errors),
        "mean": mean,
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "low": max(0.0, low),
        "high": min(100.0, high),
        "interval": "one more run" if enough else "test images",
    }


def _beside(number: dict, values: list[float], setting: Setting | None = None) -> dict:
    """The columns of one published number, with the verdict on it and what there is to say about it."""
    remarks = [] if values else [UNRECORDED]
    verdict = None
    compared = number["value"] if pd.isna(number["mean"]) else number["mean"]
    if number["bound"]:
        remarks.append("a bound on the curve left out of Figure 6, not a test error")
    elif number["approximate"]:
        remarks.append("approximate: no verdict")
    elif values:
        verdict = reproduced(compared, values, margin=MARGIN)
    remarks += _known(number)
    if setting and setting.warmup_unknown:
        steps = dict(setting.fields)["warmup_iterations"]
        had = "none" if steps == "0" else f"{steps} iterations of it"
        remarks.append(f"the paper does not say whether {setting.model.replace('plain', 'plain-')} had a warm-up: these runs had {had}")
    if number["value"] != compared:
        remarks.append(f"the best of {number['runs']} runs had {number['value']:.2f}")
    if number["protocol"] == "not stated" and not number["bound"]:
        remarks.append("protocol not stated")
    if not number["verified"]:
        remarks.append("not checked at its source")
    return {
        **{name: number[name] for name in ("model", "source_label", "approximate", "bound", "verified", "fact_id")},
        "data": "cifar10",
        "protocol": number["protocol"],
        "published": compared,
        "published_std": number["std"],
        "published_runs": number["runs"],
        "printed": number["value"],
        "verdict": verdict,
        "reason": _reason(number, compared - float(np.mean(values)), setting) if verdict == "not reproduced" else None,
        "remark": "; ".join(remarks),
    }


def _reason(number: dict, points: float, setting: Setting) -> str:
    """What most likely makes a published number lie `points` (percentage points) off the mean of the setting's runs, the likeliest first."""
    reasons = [f"{abs(points):.2f} points {'above' if points > 0 else 'below'} these runs"]
    reasons += _known(number)
    if abs(points) <= MARGIN:
        reasons.append("chance: at most one comparison in 20 fails by it alone")
    if number["source_label"] == PAPER_TABLE6:
        chosen = dict(setting.fields)
        reasons.append(f"of what the paper leaves open, they have {', '.join(f'{name} {chosen[name]}' for name in OPEN if name in chosen)}")
    elif not _known(number):
        reasons.append("another code, whose recipe is not known here")
    return "; ".join(reasons)


def _known(number: dict) -> list[str]:
    """What is known to be wrong, or otherwise than in the paper, with the training behind a published number."""
    return [number[kind] for kind in ("fault", "caveat") if pd.notna(number[kind])]


def format_scoreboard(table: pd.DataFrame) -> str:
    """The board as text: each setting with what is published beside it, then the published numbers without runs."""
    measured, missing = table[table["runs"] > 0], table[table["runs"] == 0]
    lines = [
        "Test errors in percent, mean ± standard deviation; in brackets, 95 %, where one more run would lie,",
        f"with fewer than {FEWEST_RUNS} runs (*) what the number of test images leaves open.",
        f'"reproduced": the published value lies where one more run would, and within {MARGIN} points of the mean.',
    ]
    if measured.empty:
        lines += ["", "No runs are recorded: `resnet-nb train MODEL --study NAME` records one."]
    alone = measured["remark"] == measured["data"] + ": nothing published"
    for data, group in measured[alone].groupby("data"):
        counts = f"{_counted(len(group), 'setting')}, {_counted(group['runs'].sum(), 'run')}"
        lines += ["", f"{data}: {counts}; nothing is published to compare them with (--json lists them)."]
    measured = measured[~alone]
    own = COLUMNS[: COLUMNS.index("source_label")]  # those of the runs, alike in all rows of a setting
    for _, group in measured.groupby([name for name in own if name != "seeds"], sort=False, dropna=False):
        lines += ["", *_setting_lines(group.iloc[0])]
        compared = group[group["fact_id"].notna()]
        lines += [_published_line(row) for _, row in compared.iterrows()]
        lines += [f"    not compared: {row['remark']}" for _, row in group[group["fact_id"].isna()].iterrows()]
    if not missing.empty:
        lines += ["", f"Published for CIFAR-10, {UNRECORDED}:"]
        for model, group in missing.groupby("model", sort=False):
            lines += [model, *(_published_line(row) for _, row in group.iterrows())]
    return "\n".join(lines)


def _setting_lines(row: pd.Series) -> list[str]:
    width = "" if pd.isna(row["width"]) else f", width {row['width']}"
    init = "" if row["init"] == "he-fan-in" else f", initialisation {row['init']}"
    init += "" if row["norm"] == "batch" else f", normalisation {row['norm']}"
    split = "all training images" if row["split"] == "all" else f"split {row['split']}"
    runs = f"{_counted(row['runs'], 'run')} (seed{'s' if row['runs'] > 1 else ''} {', '.join(map(str, row['seeds']))})"
    spread = "" if pd.isna(row["std"]) else f" ± {row['std']:.2f}"
    star = "" if row["interval"] == "one more run" else "*"
    error = f"{row['mean']:.2f}{spread} [{row['low']:.2f}, {row['high']:.2f}]{star}"
    return [
        f"{row['model']}{width}{init}; {row['data']}, {row['recipe']}, {row['iterations']:,} iterations, {split}",
        f"    {error}  {runs}; {row['protocol']}",
    ]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _published_line(row: pd.Series) -> str:
    if row["bound"]:
        number = f"over {row['published']:g}"
    elif row["approximate"]:
        number = f"about {row['published']:g}"
    else:
        number = f"{row['published']:.2f}" + ("" if pd.isna(row["published_std"]) else f" ± {row['published_std']:.2f}")
    remark = row["remark"].removeprefix(UNRECORDED).removeprefix("; ")  # the heading says it
    said = [] if pd.isna(row["verdict"]) else [row["verdict"]]
    if not pd.isna(row["reason"]):
        said.append(f"likely: {row['reason']}")
        remark = "; ".join(part for part in remark.split("; ") if part not in row["reason"])  # nothing twice
    said += [remark] if remark else []
    return f"    {row['source_label']:<30} {number:<13} {'; '.join(said)}".rstrip()
