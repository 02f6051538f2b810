"""One net, or several, under test protocols on the same pictures, from recorded views: what each rung of the ladder costs and changes. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from resnet_nb.errors import InputError
from resnet_nb.findings.paired import bootstrap_difference, mcnemar
from resnet_nb.records.views import Views, of_same_pictures
from resnet_nb.stats import wilson_interval

CHANCES = (0.0, 0.5, 0.7, 0.9, 0.99, 1.0)  # of the single view's likeliest class: bounds of the groups of `by_confidence`


@dataclass(frozen=True)
class Rung:
    """A protocol on recorded views. views: those that it averages; average: "softmax" or "logits", as `Views.posterior` has it."""

    views: Views
    average: str = "softmax"

    @property
    def passes(self) -> int:
        """How often the net runs."""
        return len(self.views.views)

    @property
    def pixels(self) -> int:
        """Pixels that the net reads in all its passes; its operations grow with them."""
        crop = self.views.about["protocols"][0]["crop"]
        return int((self.views.views["short"].clip(lower=crop).where(self.views.views["form"] == "dense", crop) ** 2).sum())


def ladder(rungs: Mapping[str, Rung]) -> pd.DataFrame:
    """The rungs in their order, each compared with the first on the same pictures.

    Columns: rung, passes, pixels (relative to the first rung), error (top-1, percent), low, high (its Wilson interval, 95 %), loss (nats), and
    against the first, missing there: difference (points), difference_low, difference_high (paired bootstrap, 95 %), repaired and broken (pictures
    that only this rung, or only the first, gets right), p (McNemar, exact). Raises InputError where the pictures are not the same.
    """
    (first, reference), *_ = rungs.items()
    before = reference.views.right(reference.average)
    rows = []
    for name, rung in rungs.items():
        if not of_same_pictures([reference.views, rung.views]):
            raise InputError(f"{name} and {first} have other pictures: rungs are compared on the same ones, in the same order.")
        right = rung.views.right(rung.average)
        wrong, images = int((~right).sum()), len(right)
        low, high = wilson_interval(wrong, images)
        row = {"rung": name, "passes": rung.passes, "pixels": rung.pixels / reference.pixels, "error": 100 * wrong / images, "low": low, "high": high}
        rows.append(row | {"loss": loss(rung)} | (_against(before, right) if name != first else {}))
    return pd.DataFrame(rows).astype({"repaired": "Int64", "broken": "Int64"})


def by_scale(views: Views, own: int) -> pd.DataFrame:
    """`ladder` of the dense form's views: one view at the short side `own` of the training crops, with its mirror image, each other side with
    mirrors, and multi-scale over all of them."""
    sides = sorted(set(views.views["short"]) - {own})
    at_own = views.where(short=own)
    rungs = {"one view": Rung(at_own.where(mirrored=False)), "with its mirror": Rung(at_own)}
    return ladder(rungs | {f"dense at {side}": Rung(views.where(short=side)) for side in sides} | {"multi-scale": Rung(views)})


def verdicts(table: pd.DataFrame, level: float = 0.05) -> dict[str, list[str]]:
    """Rungs of `ladder` by McNemar's test against the first, at that level: "better", "worse", "not to be told apart"."""
    others = table.iloc[1:]
    clear, better = others["p"] < level, others["difference"] < 0
    groups = {"better": clear & better, "worse": clear & ~better, "not to be told apart": ~clear}
    return {name: others["rung"][group].tolist() for name, group in groups.items()}


def loss(rung: Rung) -> float:
    """The mean cross-entropy of the averaged scores, in nats."""
    own = rung.views.posterior(rung.average)[np.arange(len(rung.views.labels)), rung.views.labels]
    return float(-np.log(own).mean())


def _against(before: np.ndarray, right: np.ndarray) -> dict:
    test = mcnemar(before, right)
    low, high = bootstrap_difference(before, right)
    return {
        "difference": test.difference, "difference_low": low, "difference_high": high, "repaired": test.only_b, "broken": test.only_a, "p": test.p,
    }  # fmt: skip


def by_confidence(one: Rung, other: Rung, bounds: Sequence[float] = CHANCES) -> pd.DataFrame:
    """Whom averaging harms: pictures grouped by how sure `one` was of its answer.

    Columns: low, high (of the likeliest class's score, high included), right, broken (right under `one` and not under `other`), broken_share (of the
    right ones, percent), wrong, repaired, repaired_share.
    """
    score = one.views.posterior(one.average).max(1)
    before, after = one.views.right(one.average), other.views.right(other.average)
    rows = []
    for low, high in zip(bounds, bounds[1:], strict=False):
        group = (score > low) & (score <= high)
        counts = (group & before, group & before & ~after, group & ~before, group & ~before & after)
        rows.append((low, high, *(int(count.sum()) for count in counts)))
    table = pd.DataFrame(rows, columns=["low", "high", "right", "broken", "wrong", "repaired"])
    table.insert(4, "broken_share", 100 * table["broken"] / table["right"])
    return table.assign(repaired_share=100 * table["repaired"] / table["wrong"])


def errors(nets: Mapping[int, Views], choices: Mapping[str, Mapping[str, object]]) -> pd.DataFrame:
    """Columns depth, protocol, error (top-1, percent): each net's views, chosen as `Views.where` does by the values that each protocol names."""
    rows = [(depth, name, views.where(**wanted).error()) for depth, views in nets.items() for name, wanted in choices.items()]
    return pd.DataFrame(rows, columns=["depth", "protocol", "error"])


def gains(errors: pd.DataFrame, where: str, *, published: bool) -> pd.DataFrame:
    """Error removed by the protocol alone, and by depth alone, for `figures.gains`.

    errors: columns depth, protocol (the first is what the others are compared with), error (percent), each pair once. Rows of "protocol": the
    shallowest net under each other protocol; of "depth": the deepest net against the shallowest, under each protocol. where, published: as there.
    """
    table = errors.pivot(index="depth", columns="protocol", values="error")[list(dict.fromkeys(errors["protocol"]))]
    shallow, deep = table.loc[table.index.min()], table.loc[table.index.max()]
    first, *others = (protocol.split(" (")[0] for protocol in table.columns)
    rows = [("protocol", f"{first} to {name}", shallow.iloc[0] - shallow.iloc[place]) for place, name in enumerate(others, 1)]
    layers = f"{shallow.name} to {deep.name} layers"
    rows += [("depth", f"{layers}, {name}", shallow.iloc[place] - deep.iloc[place]) for place, name in enumerate((first, *others))]
    return pd.DataFrame(rows, columns=["what", "label", "gain"]).assign(where=where, published=published)
