"""Why your number differs, in notebook 04: type two errors and what is known, and read the causes whose size and sign fit.

    explore(20.74, 24.7, model="resnet50", data="imagenet")      controls and a table, in a live notebook
    markdown(table(20.74, 24.7, data="imagenet"))                the same for paper

The causes and the choice among them are those of `resnet-nb diagnose`. Nothing here imports torch.
"""

import html
import re
import textwrap

import pandas as pd
from IPython.display import display

from resnet_nb.audience import in_notebook, silenced
from resnet_nb.diagnose.causes import PROTOCOLS, load_causes, matching
from resnet_nb.errors import InputError
from resnet_nb.training.widgets import NAMED

NOT_SAID = ""  # a Dropdown whose value is None shows an empty line
DATA = {"not said": NOT_SAID, "ImageNet": "imagenet", "CIFAR": "cifar"}
WIDTHS = {"cause": 32, "typical effect": 15, "one-line test": 28, "source": 25}  # characters; all four columns take a hundred
FITS = "size and sign"
# ipywidgets gives each line of HTML the height of a button; long names of sources would make the table wider than a narrow window
LOOK = (
    "<style>.causes { line-height: 1.35; border-collapse: collapse } .causes :is(th, td) "
    "{ vertical-align: top; padding: 4px 8px 4px 0; border-bottom: 1px solid #8888 } "
    ".causes td:nth-child(5) { min-width: 10em; overflow-wrap: anywhere }</style>"
)
STATIC = "In a live Jupyter, this cell shows fields for two errors and what you know, and the causes that fit; tables stand for them here."


def table(
    published: float, measured: float, *, model: str | None = None, data: str | None = None, protocol: str | None = None, group: str | None = None
) -> pd.DataFrame:
    """The known causes whose size and sign fit measured minus published, those that checks find soonest first: a short table.

    published, measured: top-1 errors in percent. model, data, protocol: as for `diagnose.matching`. group: "comparison", "test pipeline" or
    "training" leaves out the others. Columns: cause, typical effect (points of measured minus published, and how it is known), one-line test,
    source (the first one). Causes of unknown size are left out. Raises InputError as `matching` does.
    """
    found = _fitting(published, measured, model=model, data=data, protocol=protocol, group=group)
    found = found[found["fits"] == FITS]
    columns = found["cause"], found["effect"] + " points, " + found["evidence"], found["test"], found["source"].map(_first)
    return pd.DataFrame(dict(zip(WIDTHS, columns, strict=True))).reset_index(drop=True)


def _fitting(published: float, measured: float, *, group: str | None, **names: str | None) -> pd.DataFrame:
    """The rows of `matching`, of one group where it is named."""
    found = matching(measured, published, **names)
    return found if group is None else found[found["group"] == group]


def _first(source: str) -> str:
    """The first of several sources, and how many more there are."""
    first, *others = source.split("; ")
    return f"{first} and {len(others)} more" if others else first


def markdown(causes: pd.DataFrame) -> str:
    """A table of `table` as Markdown, whose columns are shown at most WIDTHS characters wide, a hundred together."""
    if causes.empty:
        return "No known cause fits in size and sign."
    lines = [list(causes.columns), ["---"] * len(causes.columns)]
    lines += [[_cell(text, WIDTHS[column]) for column, text in row.items()] for row in causes.to_dict("records")]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str, width: int) -> str:
    """Lines of at most `width` characters, with what Markdown and TeX would read as their own made harmless."""
    loose = re.sub(rf"\S{{{width + 1},}}", lambda word: word[0].replace("/", "/ "), text)  # owner/repository@commit may break at its stroke
    lines = [line.replace("/ ", "/") for line in textwrap.wrap(loose, width)]
    return "<br>".join(re.sub(r"([\\`*_|~$<\[\]])", r"\\\1", line) for line in lines)


def explore(
    published: float | None = None,
    measured: float | None = None,
    *,
    model: str | None = None,
    data: str | None = None,
    protocol: str | None = None,
) -> None:
    """Show the explorer, or where nobody can use it (no kernel, RESNET_NB_PROGRESS=off) one line that says so.

    What is given stands in its fields at first, for the reader to change: as for `table`. protocol: one of `diagnose.causes.PROTOCOLS`.
    """
    if not in_notebook() or silenced():
        print(STATIC)
        return
    display(Explorer(published, measured, model, data, protocol).box)


class Explorer:
    """The fields, and the causes that fit what is in them."""

    def __init__(self, published: float | None, measured: float | None, model: str | None, data: str | None, protocol: str | None):
        from ipywidgets import HTML, Checkbox, Dropdown, HBox, Layout, Text, VBox

        narrow, row_wrap = Layout(width="16em"), Layout(flex_flow="row wrap")
        numbers = ["" if value is None else f"{value:g}" for value in (published, measured)]
        groups = dict.fromkeys(cause.group for cause in load_causes())
        self.published = Text(numbers[0], description="Published error (%)", style=NAMED, layout=narrow)
        self.measured = Text(numbers[1], description="Measured error (%)", style=NAMED, layout=narrow)
        self.model = Text(model or "", description="Model", placeholder="such as resnet50", style=NAMED, layout=narrow)
        sets = DATA if data is None or data in DATA.values() else DATA | {data: data}
        protocols = {"not said": NOT_SAID} | {name: name for name in PROTOCOLS}
        kinds = {"all": NOT_SAID} | {name: name for name in groups}
        self.data = Dropdown(options=list(sets.items()), value=data or NOT_SAID, description="Data", style=NAMED)
        self.protocol = Dropdown(options=list(protocols.items()), value=protocol or NOT_SAID, description="Measured under", style=NAMED)
        self.group = Dropdown(options=list(kinds.items()), description="Causes", style=NAMED)
        self.unknown = Checkbox(description="Also causes whose size nobody measured", indent=False)
        self.result = HTML()
        fields = [[self.published, self.measured], [self.model, self.data, self.protocol, self.group]]
        for control in (*fields[0], *fields[1], self.unknown):
            control.observe(lambda _: self._update(), "value")
        self.box = VBox([*(HBox(row, layout=row_wrap) for row in fields), self.unknown, self.result])
        self._update()

    def _update(self) -> None:
        try:
            published, measured = (_number(field.value, name) for field, name in ((self.published, "published"), (self.measured, "measured")))
            names = {"model": self.model.value.strip(), "data": self.data.value, "protocol": self.protocol.value, "group": self.group.value}
            found = _fitting(published, measured, **{name: value or None for name, value in names.items()})
            self.result.value = _page(found, measured - published, self.unknown.value)
        except InputError as error:
            self.result.value = html.escape(str(error))


def _number(text: str, name: str) -> float:
    """An error in percent as people type it: 24.7, 24,7 or 24.7 %."""
    try:
        return float(text.strip().removesuffix("%").replace(",", "."))
    except ValueError:
        raise InputError(f"Type the {name} top-1 error in percent, a number from 0 to 100 such as 24.7.") from None


def _page(found: pd.DataFrame, gap: float, unknown: bool) -> str:
    """A sentence and the table of the causes, with all their sources, as HTML."""
    fits = int((found["fits"] == FITS).sum())
    sentence = (
        f"Measured minus published: {gap:+.2f} points. {fits} of {len(load_causes())} known causes fit in size and sign, "
        f"{len(found) - fits} more have no known size; the checks that find most faults come first."
    )
    shown = found if unknown else found[found["fits"] == FITS]
    cells = pd.DataFrame(
        {
            "cause": shown["cause"], "typical effect (points)": shown["effect"] + ", " + shown["evidence"], "seen on": shown["seen_on"],
            "one-line test": shown["test"], "source": shown["source"], "group": shown["group"],
        }
    )  # fmt: skip
    with pd.option_context("display.max_colwidth", None):
        page = cells.to_html(index=False, justify="left", border=0, classes="causes")
    return html.escape(sentence) + (f'{LOOK}<div style="overflow-x: auto; contain: inline-size">{page}</div>' if len(cells) else "")
