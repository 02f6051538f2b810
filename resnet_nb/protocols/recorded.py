"""From a scoring run to the file of recorded views that `resnet-nb evaluate ... --save-scores` writes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from resnet_nb.protocols import Protocol, View
from resnet_nb.protocols.scoring_runs import Outcome
from resnet_nb.records.views import COLUMNS, Views


def views_of(outcome: Outcome, protocols: Sequence[Protocol], labels: np.ndarray, names: Sequence[str], about: dict) -> Views:
    """The views of all `protocols`, each once, with the labels (N,) and names (N) of those pictures that were scored.

    outcome: of `scoring_runs.score` with its logits kept, under the same protocols. about: what JSON holds.
    """
    rows = [row(view, protocol) for protocol in protocols for view in protocol.views()]
    first = [rows.index(one) for one in dict.fromkeys(rows)]  # the centre crop of 1-crop is the fifth of 10-crop
    logits = np.concatenate(outcome.logits, axis=1)[:, first]
    table = pd.DataFrame([rows[place] for place in first], columns=list(COLUMNS))
    return Views(logits, labels[outcome.places], tuple(names[place] for place in outcome.places), table, about)


def row(view: View, protocol: Protocol) -> tuple[str, int, int, str, bool, str]:
    """A view as `views.COLUMNS` has it."""
    return "dense" if protocol.dense else "crop", view.short or 0, protocol.pad, view.place, view.mirrored, protocol.rule if protocol.dense else ""
