import base64
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import ipywidgets
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from resnet_nb import notebook
from resnet_nb.errors import InputError
from resnet_nb.runner.pages import to_html

ALT = "Training error against iterations: plain-56 stays above plain-20."
WORK = {"quick_minutes": 2, "gpu_hours": 3, "cpu_hours": 400}
WITHOUT_TORCH = Path(__file__).parent / "without_torch"


@pytest.fixture
def displayed(monkeypatch):
    """What the notebook's calls display, in order, as (what, metadata)."""
    shown = []
    monkeypatch.setattr(notebook, "display", lambda what, metadata=None, raw=False: shown.append((what, metadata)))
    return shown


@pytest.fixture
def figure():
    figure, axes = pyplot.subplots(figsize=(7.5, 4), layout="constrained")
    axes.plot([0, 1, 2], [3, 1, 2])
    axes.set(title="Loss", xlabel="iteration", ylabel="loss")
    return figure


def run_without_torch(code: str) -> subprocess.CompletedProcess:
    search = os.pathsep.join([str(WITHOUT_TORCH), str(Path(__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": search}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize(
    ("rung", "work"), [("stored", "nothing is trained"), ("quick", "2 minutes"), ("full", "3 hours")]
)
def test_begin_says_in_one_line_which_rung_is_shown_and_what_it_takes(rung, work, capsys, monkeypatch):
    monkeypatch.setattr(notebook, "_has_gpu", lambda: True)
    notebook.begin(rung, **WORK)
    line = capsys.readouterr().out
    assert line.count("\n") == 1 and line.startswith(f"Evidence: {rung}.") and work in line


def test_a_notebook_that_trains_nothing_says_so_on_every_rung(capsys, monkeypatch):
    monkeypatch.setattr(notebook, "_has_gpu", lambda: False)
    for rung in notebook.RUNGS:
        notebook.begin(rung)
        assert "nothing is trained here" in capsys.readouterr().out


def test_unknown_rung_is_refused_with_the_ones_there_are():
    with pytest.raises(InputError, match="'fast' is unknown: choose one of 'stored', 'quick', 'full'"):
        notebook.begin("fast", **WORK)


def test_full_rung_without_a_gpu_says_how_long_it_takes_and_needs_allow_slow(capsys, monkeypatch):
    monkeypatch.setattr(notebook, "_has_gpu", lambda: False)
    with pytest.raises(InputError, match="400 hours on this machine.*ALLOW_SLOW = True"):
        notebook.begin("full", **WORK)
    assert not capsys.readouterr().out
    notebook.begin("full", **WORK, allow_slow=True)
    assert "Evidence: full" in capsys.readouterr().out


def test_stored_rung_runs_where_torch_is_not_installed():
    code = "from resnet_nb.notebook import begin, environment\nbegin('stored', quick_minutes=2)\nenvironment('stored')"
    run = run_without_torch(code)
    assert run.returncode == 0, run.stderr
    assert "torch not installed" in run.stdout


def test_rung_that_trains_is_refused_where_torch_is_not_installed():
    run = run_without_torch("from resnet_nb.notebook import begin\nbegin('quick', quick_minutes=2)")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].endswith("run `pip install torch torchvision`, or choose 'stored'.")


def test_stored_rung_leaves_an_installed_torch_alone():
    code = (
        "import sys\nfrom resnet_nb.notebook import begin, environment, show\nbegin('stored', quick_minutes=2)\n"
        "assert environment('stored')['torch'] and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100, cwd=Path(__file__).parents[1])


def test_environment_tells_versions_and_the_device_of_a_rung_that_trains(capsys):
    found = notebook.environment("quick")
    out = capsys.readouterr().out
    assert set(found) == {"python", "resnet_nb", "torch", "cores", "device"}
    assert all(str(value) in out for value in found.values())


def test_figure_is_shown_with_its_alternative_text_and_then_its_caption(figure, displayed):
    notebook.show(figure, ALT, "**Loss.** One run.", shows=["stored", "published"])
    (picture, metadata), (caption, _) = displayed
    assert metadata == {"image/png": {"alt": ALT}}
    assert picture["text/plain"] == "<Figure size 750x400 with 1 Axes>"
    assert caption.data == "**Loss.** One run. *Shown: recorded runs; published values.*"
    image = Image.open(io.BytesIO(base64.b64decode(picture["image/png"])))
    assert image.size == (900, 480) and not image.info.keys() & {"Software", "Creation Time"}
    assert not pyplot.fignum_exists(figure.number)


def test_equal_figures_are_equal_bytes(displayed):
    for _ in range(2):
        figure = Figure(figsize=(4, 3))
        figure.add_subplot(title="t", xlabel="x", ylabel="y").plot([1, 2, 1])
        notebook.show(figure, ALT, "Caption.", shows="quick")
    assert displayed[0] == displayed[2]


def test_html_page_carries_the_alternative_text_escaped(figure, displayed):
    alt = 'The "plain" net <dashed> & the residual net, error against iterations.'
    notebook.show(figure, alt, "Caption.", shows="stored")
    picture, metadata = displayed[0]
    cell = new_code_cell("show(...)", outputs=[new_output("display_data", picture, metadata=metadata)])
    page = to_html(new_notebook(cells=[cell]))
    assert 'The "plain" net &lt;dashed&gt; &amp; the residual net' in page
    assert "No description has been provided" not in page


def test_alternative_text_too_short_to_replace_a_figure_is_refused(figure, displayed):
    with pytest.raises(ValueError, match="cannot replace the figure"):
        notebook.show(figure, "A   plot" + " " * 40, "Caption.", shows="stored")
    with pytest.raises(ValueError, match="shows='live' is unknown"):
        notebook.show(figure, ALT, "Caption.", shows="live")
    assert not displayed


def test_figure_without_a_title_or_axis_labels_is_refused(figure, displayed):
    figure.axes[0].set(title="", ylabel="")
    with pytest.raises(ValueError, match="no title and no y label"):
        notebook.show(figure, ALT, "Caption.", shows="stored")
    figure.suptitle("Loss")
    figure.axes[0].set_axis_off()  # as for a photograph
    notebook.show(figure, ALT, "Caption.", shows="stored")


def test_silenced_prediction_shows_its_answers_and_stays_open(displayed):
    choice = notebook.predict("Which net is worse?", ["plain-20", "plain-56"])
    number = notebook.predict("By how many points?", between=(0, 50))
    assert [shown.data for shown, _ in displayed] == [
        "**Your prediction.** Which net is worse? (plain-20 · plain-56)",
        "**Your prediction.** By how many points? (a number from 0 to 50)",
    ]
    assert choice.value is None and number.value is None


def test_live_prediction_is_what_the_reader_chose(displayed, monkeypatch):
    monkeypatch.setattr(notebook, "silenced", lambda: False)
    monkeypatch.setattr(notebook, "get_ipython", object)
    choice = notebook.predict("Which net is worse?", ["plain-20", "plain-56"])
    number = notebook.predict("By how many points?", between=(0, 50))
    buttons, slider = (shown for shown, _ in displayed if isinstance(shown, ipywidgets.Widget))
    assert choice.value is None and number.value is None
    buttons.value, slider.value = "plain-56", 12.5
    assert choice.value == "plain-56" and number.value == 12.5


def test_the_pages_links_lead_to_pages():
    text = "[one](01_degradation.ipynb), [a part](02_x.ipynb#Part), [elsewhere](https://a.org/b.ipynb), [below](sub/c.ipynb), `d.ipynb`"
    page = to_html(new_notebook(cells=[new_markdown_cell(text)]))
    hrefs = [href for href in re.findall('href="([^"]*)"', page) if "ipynb" in href or "html" in href]
    assert hrefs == ["01_degradation.html", "02_x.html#Part", "https://a.org/b.ipynb", "sub/c.ipynb"]


def test_the_page_has_the_notebooks_title():
    cells = [new_markdown_cell("Before it."), new_code_cell("# no title"), new_markdown_cell("# Depth & errors: why?\n\n## More")]
    assert "<title>Depth &amp; errors: why?</title>" in to_html(new_notebook(cells=cells))
    assert "<title>Notebook</title>" in to_html(new_notebook())


def test_a_wide_range_has_whole_numbers(displayed, monkeypatch):
    monkeypatch.setattr(notebook, "silenced", lambda: False)
    monkeypatch.setattr(notebook, "get_ipython", object)
    notebook.predict("How many of eleven?", between=(0, 11))
    notebook.predict("By how many points?", between=(0, 8))
    sliders = [shown for shown, _ in displayed if isinstance(shown, ipywidgets.Widget)]
    assert [(slider.step, slider.readout_format) for slider in sliders] == [(1, ".0f"), (0.08, ".2f")]


def test_prediction_without_possible_answers_is_refused():
    with pytest.raises(ValueError, match="either choices or between"):
        notebook.predict("What?")


def test_an_error_of_ours_is_one_sentence_in_a_notebook(capsys: pytest.CaptureFixture) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.run_cell("from resnet_nb.errors import InputError\nraise InputError('Choose another.')")
    shown = capsys.readouterr().out
    assert "InputError: Choose another." in shown and "Traceback" not in shown and "run_cell" not in shown
