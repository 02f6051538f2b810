"""A pytest plugin: nbval compares what matters in a committed notebook, and nothing that differs between machines.

On top of nbval 0.11, for every code cell:

- A cell that was never run (no execution count) fails; nbval alone passes it without looking.
- Text is compared exactly, but two floats of which one is printed with at least SIGNIFICANT digits may differ by RTOL.
  With fewer digits the tolerance would hide a wrong one, while a difference in the last bits moves a number across a
  rounding border once in thousands of times. Integers, signs, nan and how many numbers there are stay exact. There is
  no absolute tolerance: that rounding noise is small is asserted, not printed.
- The alternative text of a picture is compared like any text, the picture coarsely (PICTURE_TOLERANCE).
- A cell tagged nbval-ignore-output has to give outputs of the committed kinds in order, so that no figure gets lost.

What a cell may print for comparison was measured over emulated CPUs (AVX-512, AVX2, none) and one or two threads: the
losses of the first five iterations of 8-layer nets on digits differ by up to 4e-5, the loss of a 56-layer net at
initialisation by 3e-5, hence RTOL. But after two steps at rate 0.05 that of a 56-layer net differs by 8e-3, after ten
that of a 20-layer one by 4e-2: such figures, and longer runs, belong in an ignored cell with an assertion.

The plugin replaces two methods of nbval's cell class, so nbval is pinned to 0.11.
"""

import base64
import copy
import io
import re

import nbval.plugin as nbval
import numpy as np
from nbformat import NotebookNode
from PIL import Image

SIGNIFICANT = 6
RTOL = 2e-4

BLOCK = 16  # pixels
# Levels of 255, the mean over blocks of BLOCK x BLOCK pixels. Unhinted text gives 0.45 on a figure of four curves; one
# of them 5 % off gives 0.8, two colours exchanged 1.1, a curve lost 1.8; a changed title, 0.1, is left to the caption.
PICTURE_TOLERANCE = 0.6

FLOAT = re.compile(r"(?<![\w.])[-+]?(?:\d+\.\d*|\.\d+|\d(?=[eE][-+]))(?:[eE][-+]?\d+)?(?!\w|\.\d)")


def significant_digits(number: str) -> int:
    """How many digits a printed number has from its first non-zero one on: 6 for 0.0123450, 3 for 1.05e-05."""
    mantissa = re.split("[eE]", number)[0]
    return len(re.sub(r"\D", "", mantissa).lstrip("0"))


def close(new: str, committed: str) -> bool:
    """Whether two printed floats count as the same number."""
    if new == committed:
        return True
    if max(significant_digits(new), significant_digits(committed)) < SIGNIFICANT:
        return False
    return abs(float(new) - float(committed)) <= RTOL * abs(float(committed))


def snap(new: str, committed: str) -> str:
    """`new` with each float that is close to its counterpart in `committed` replaced by it, if both have as many."""
    if not (isinstance(new, str) and isinstance(committed, str)):
        return new
    counterparts = FLOAT.findall(committed)
    if len(FLOAT.findall(new)) != len(counterparts):
        return new
    remaining = iter(counterparts)

    def counterpart(match: re.Match) -> str:
        partner = next(remaining)
        return partner if close(match[0], partner) else match[0]

    return FLOAT.sub(counterpart, new)


def levels(png: str) -> np.ndarray:
    """(height, width, 3) float, 0 to 255, of a PNG in base64."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), float)


def picture_difference(new: str, committed: str) -> float:
    """Mean absolute difference, in levels of 255, of the blocks' means of two base64 PNGs; infinite if sizes differ."""
    first, second = (levels(png) for png in (new, committed))
    if first.shape != second.shape:
        return float("inf")
    height, width = (side - side % BLOCK for side in first.shape[:2])
    blocks = (first - second)[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3)
    return float(np.abs(blocks.mean(axis=(1, 3))).mean())


def kinds(outputs: list[NotebookNode]) -> list[str]:
    """What each output is: a stream's or an error's name, or the MIME types of what was displayed."""
    return [out.get("name") or out.get("ename") or " + ".join(sorted(out.data)) for out in outputs]


def pictures(outputs: list[NotebookNode]) -> list[str]:
    """The PNGs among the outputs, in base64."""
    return [out.data["image/png"] for out in outputs if "image/png" in out.get("data", {})]


def with_alternative_text(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """A copy of the outputs in which a picture's alternative text lies beside the picture, where nbval compares it."""
    outputs = copy.deepcopy(outputs)
    for out in outputs:
        if "image/png" in out.get("data", {}):
            out.data["image/png alt"] = out.metadata.get("image/png", {}).get("alt", "")
    return outputs


def snapped(new: list[NotebookNode], committed: list[NotebookNode]) -> list[NotebookNode]:
    """`new`, changed in place: its texts snapped to those of the outputs of the same kind, in order."""

    def texts(outputs: list[NotebookNode]) -> dict[str, list[tuple[dict, str]]]:
        found: dict[str, list[tuple[dict, str]]] = {}
        for out in outputs:
            if out.output_type == "stream":
                found.setdefault(out.name, []).append((out, "text"))
            for mime in out.get("data", {}):
                found.setdefault(mime, []).append((out.data, mime))
        return found

    committed_texts = texts(committed)
    for kind, places in texts(new).items():
        for (new_holder, key), (holder, _) in zip(places, committed_texts.get(kind, []), strict=False):
            new_holder[key] = snap(new_holder[key], holder[key])
    return new


_run, _compare = nbval.IPyNbCell.runtest, nbval.IPyNbCell.compare_outputs


def runtest(self: nbval.IPyNbCell) -> None:
    """Run the cell, having refused one that was committed unrun; compare an ignored cell's kinds of output."""
    if self.cell.execution_count is None:
        self.raise_cell_error("The committed cell was never run: refresh the notebook.")
    self.output_timeout = 60  # of a busy machine; nbval's 5 s are for the messages after the cell has ended
    _run(self)
    committed = kinds(nbval.coalesce_streams(self.cell.outputs))
    if not self.options["check"] and kinds(self.test_outputs) != committed:
        self.raise_cell_error(f"The committed outputs are {committed}, those of this run {kinds(self.test_outputs)}.")


def compare_outputs(self: nbval.IPyNbCell, test, ref, skip_compare=None) -> bool:
    """nbval's comparison with the tolerance for floats, alternative texts and pictures."""
    new, committed = with_alternative_text(test), with_alternative_text(ref)
    if not _compare(self, snapped(new, committed), committed, skip_compare):
        return False
    if len(pictures(test)) != len(pictures(ref)):
        self.comparison_traceback.append(f"{len(pictures(ref))} pictures committed, {len(pictures(test))} in this run")
        return False
    for number, pair in enumerate(zip(pictures(test), pictures(ref), strict=True), 1):
        difference = picture_difference(*pair)
        if difference > PICTURE_TOLERANCE:
            self.comparison_traceback.append(f"picture {number} differs by {difference:.2f} levels of 255")
            return False
    return True


def pytest_configure(config) -> None:
    nbval.IPyNbCell.runtest, nbval.IPyNbCell.compare_outputs = runtest, compare_outputs
    config.option.nbval_current_env = True  # the kernel of this environment, whatever kernels the user has registered
