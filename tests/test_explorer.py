import html
import io
import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import ipywidgets
import pytest
import torch
import yaml
from PIL import Image
from record_examples import training_record
from small_data import small_data
from widget_examples import alt, displayed_by, picture

from resnet_nb import figures, recipes
from resnet_nb.figures.explorer import Watched, watched
from resnet_nb.live import explorer
from resnet_nb.models import build_model
from resnet_nb.recipes import Recipe
from resnet_nb.training import train

ROOT = Path(__file__).parents[1]
TINY = Recipe("tiny", batch_size=8, iterations=6, drops=(), warmup_iterations=0, curve_every=2, evaluations=1, pad=0, flip=False)
ENDLESS = TINY.replaced(iterations=1_000_000)
SECONDS = 60  # no test waits that long unless it fails


@pytest.fixture
def shown(monkeypatch):
    """What explore() displays, in a notebook that is live; whatever trains at the end is stopped."""
    yield displayed_by(explorer, monkeypatch)
    if explorer._shown:
        explorer._shown.close()
        explorer._shown = None


def found(box: ipywidgets.Widget, description: str) -> ipywidgets.Widget:
    """The control in the box that is described so."""
    return next(widget for widget in everything(box) if getattr(widget, "description", "") == description)


def everything(box: ipywidgets.Widget) -> list[ipywidgets.Widget]:
    return [box, *(inner for child in getattr(box, "children", ()) for inner in everything(child))]


def status(box: ipywidgets.Widget) -> str:
    return html.unescape(next(widget.value for widget in everything(box) if isinstance(widget, ipywidgets.HTML)))


def until_over() -> None:
    """Wait until the net that trains is through."""
    explorer._shown.thread.join(SECONDS)
    assert not explorer._shown.training


def trainers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == explorer.THREAD]


@pytest.fixture
def first_point(monkeypatch):
    """An event that is set once a run has its first point."""
    reached, real = threading.Event(), train.fit

    def fit(*arguments, on_point, **options):
        def watch(curve):
            reached.set()
            on_point(curve)

        return real(*arguments, on_point=watch, **options)

    monkeypatch.setattr(train, "fit", fit)
    return reached


def test_a_net_trained_here_ends_with_the_errors_of_fit_alone(shown):
    data = small_data()
    explorer.explore(3, data=data, recipe=TINY)
    (box,) = shown
    found(box, "Depth").value, found(box, "Shortcut").value, found(box, "Learning rate").value = 14, "residual", 0.2
    found(box, "Train").click()
    until_over()
    net = build_model("resnet14", width=explorer.WIDTH, in_channels=1, classes=4, seed=3)
    alone = train.fit(net, data, TINY.replaced(rate=0.2), 3, "cpu", progress=False)
    assert f"6 iterations, training error {alone.train.top1_error:.2f} %, test error {alone.test.top1_error:.2f} %" in status(box)
    assert status(box).startswith("residual 14, rate 0.2: ")
    (run,) = explorer._shown.runs
    assert run.points == alone.curve.running
    assert found(box, "Stop").disabled and not found(box, "Train").disabled


def test_shortcut_and_rate_change_what_is_trained(shown):
    explorer.explore(data=small_data(), recipe=TINY)
    for shortcut, rate in (("plain", 0.05), ("residual", 0.05), ("plain", 0.01)):
        found(shown[0], "Shortcut").value, found(shown[0], "Learning rate").value = shortcut, rate
        found(shown[0], "Train").click()
        until_over()
    runs = explorer._shown.runs
    assert [(run.number, run.label) for run in runs] == [(1, "plain 20, rate 0.05"), (2, "residual 20, rate 0.05"), (3, "plain 20, rate 0.01")]
    assert len({str(run.points) for run in runs}) == 3


def test_a_loss_low_enough_ends_the_run_and_is_said(shown):
    explorer.explore(data=small_data(), recipe=TINY.replaced(stop_at_loss=1000.0))
    found(shown[0], "Train").click()
    until_over()
    assert "running loss under 1000 after 2 iterations, training error" in status(shown[0])


def test_stop_ends_the_run_at_its_next_point_and_leaves_no_thread(shown, first_point):
    explorer.explore(data=small_data(), recipe=ENDLESS)
    (box,) = shown
    found(box, "Train").click()
    assert first_point.wait(SECONDS) and not found(box, "Stop").disabled and found(box, "Train").disabled
    found(box, "Stop").click()
    before = len(explorer._shown.runs[0].points)
    until_over()
    (run,) = explorer._shown.runs
    assert len(run.points) <= before + 2 and not trainers()
    assert status(box) == f"plain 20, rate 0.05 (stopped) after {run.points[-1][0]} iterations."
    assert found(box, "Stop").disabled and not found(box, "Train").disabled
    said = status(box)
    found(box, "Stop").click()
    assert status(box) == said, "a second click changes nothing"


def test_stop_is_heard_before_the_training_begins(shown, monkeypatch):
    begun = []
    monkeypatch.setattr(train, "fit", lambda *arguments, **options: begun.append(arguments))
    explorer.explore(data=small_data(), recipe=TINY)
    real = explorer.Explorer._train

    def late(*arguments):  # as when torch is being imported
        found(shown[0], "Stop").click()
        assert status(shown[0]) == "plain 20, rate 0.05: stopping." and found(shown[0], "Stop").disabled
        return real(*arguments)

    monkeypatch.setattr(explorer.Explorer, "_train", late)
    found(shown[0], "Train").click()
    until_over()
    assert status(shown[0]) == "plain 20, rate 0.05 (stopped) after 0 iterations." and not begun


def test_a_stopped_explorer_trains_again(shown, first_point):
    explorer.explore(data=small_data(), recipe=ENDLESS)
    for _ in range(2):
        found(shown[0], "Train").click()
        assert first_point.wait(SECONDS)
        found(shown[0], "Stop").click()
        until_over()
        first_point.clear()
    assert [run.label for run in explorer._shown.runs] == ["plain 20, rate 0.05 (stopped)"] * 2


def test_a_second_train_while_one_runs_is_refused(shown, first_point):
    explorer.explore(data=small_data(), recipe=ENDLESS)
    found(shown[0], "Train").click()
    assert first_point.wait(SECONDS)
    found(shown[0], "Train").click()
    assert len(trainers()) == 1 and len(explorer._shown.runs) == 1


def test_clicks_from_several_threads_start_one_run(shown):
    """JupyterLab may hand clicks to subshells, each a thread of the kernel."""
    explorer.explore(data=small_data(), recipe=ENDLESS)
    together, before = threading.Barrier(8), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that the threads come between each other's steps

    def click():
        together.wait(SECONDS)
        found(shown[0], "Train").click()

    clickers = [threading.Thread(target=click) for _ in range(8)]
    for clicker in clickers:
        clicker.start()
    for clicker in clickers:
        clicker.join(SECONDS)
    sys.setswitchinterval(before)
    assert len(trainers()) == 1 and len(explorer._shown.runs) == 1


def test_showing_the_explorer_again_stops_the_former_run(shown, first_point):
    explorer.explore(data=small_data(), recipe=ENDLESS)
    found(shown[0], "Train").click()
    assert first_point.wait(SECONDS)
    former = explorer._shown
    explorer.explore(data=small_data(), recipe=TINY)
    assert not former.training and not trainers() and former.box.comm is None
    assert len(shown) == 2 and shown[1] is not shown[0]


def test_a_diverged_run_says_so(shown):
    explorer.explore(data=small_data(), recipe=TINY.replaced(weight_decay=1e30))
    found(shown[0], "Train").click()
    until_over()
    assert "training diverged; choose a smaller rate" in status(shown[0]) and "Traceback" not in status(shown[0])
    assert explorer._shown.runs[0].label.endswith("(failed)")
    assert not found(shown[0], "Train").disabled


def test_an_unforeseen_exception_is_shown_and_the_next_run_is_possible(shown, monkeypatch):
    def broken(*arguments, **options):
        raise ZeroDivisionError("<b>nobody expected this</b>")

    explorer.explore(data=small_data(), recipe=TINY)
    with monkeypatch.context() as patch:
        patch.setattr(train, "fit", broken)
        found(shown[0], "Train").click()
        until_over()
    assert "Traceback" in status(shown[0]) and "ZeroDivisionError: <b>nobody" in status(shown[0])
    assert "<b>" not in explorer._shown.status.value
    found(shown[0], "Train").click()
    until_over()
    assert "training error" in status(shown[0])


def test_the_picture_is_a_png_that_changes_while_the_net_trains(shown, monkeypatch):
    monkeypatch.setattr(explorer, "SECONDS", 0)
    explorer.explore(data=small_data(), recipe=TINY)
    (box,) = shown
    empty, seen, said = picture(box), [], []
    explorer._shown.picture.widget.observe(lambda _: seen.append(picture(box)), "value")
    explorer._shown.status.observe(lambda change: said.append(change["new"]), "value")
    found(box, "Train").click()
    until_over()
    assert len({empty, *seen}) >= 3, "the empty picture, and one for each point where the error changed"
    for png in (empty, *seen):
        image = Image.open(io.BytesIO(png))
        assert image.format == "PNG" and image.width <= 800, "as wide as a notebook's page"
    assert [line for line in said if "iteration 4 of 6, running error" in line]


def test_the_picture_is_redrawn_about_every_second(shown, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(explorer, "time", SimpleNamespace(monotonic=lambda: 0.4 * next(ticks)))  # a point takes 0.4 s, and so does a drawing
    explorer.explore(data=small_data(), recipe=TINY.replaced(curve_every=1))
    seen, draw = [], explorer.watched
    monkeypatch.setattr(explorer, "watched", lambda runs, first: seen.append(len(runs[-1].points)) or draw(runs, first))
    found(shown[0], "Train").click()
    until_over()
    assert seen == [1, 4, 6], "at the first point, a second later, and at the end"


def test_earlier_nets_stay_until_clear_and_the_one_that_trains_stays_then_too(shown, first_point):
    explorer.explore(data=small_data(), recipe=TINY)
    for _ in range(2):
        found(shown[0], "Train").click()
        until_over()
    assert len(explorer._shown.runs) == 2
    explorer._shown.recipe = ENDLESS
    first_point.clear()
    found(shown[0], "Train").click()
    assert first_point.wait(SECONDS)
    found(shown[0], "Clear").click()
    assert [run.number for run in explorer._shown.runs] == [3]
    found(shown[0], "Stop").click()
    until_over()
    before = picture(shown[0])
    found(shown[0], "Clear").click()
    assert not explorer._shown.runs and picture(shown[0]) != before


def test_the_oldest_net_makes_room(shown, monkeypatch):
    monkeypatch.setattr(explorer, "KEPT", 2)
    explorer.explore(data=small_data(), recipe=TINY)
    for _ in range(3):
        found(shown[0], "Train").click()
        until_over()
    assert [run.number for run in explorer._shown.runs] == [2, 3]


def test_a_run_uses_one_thread_of_torch_and_leaves_the_readers_number_alone(shown, monkeypatch):
    counts, real, before = [], train.fit, torch.get_num_threads()
    monkeypatch.setattr(train, "fit", lambda *a, **o: counts.append(torch.get_num_threads()) or real(*a, **o))
    torch.set_num_threads(2)
    try:
        explorer.explore(data=small_data(), recipe=TINY)
        found(shown[0], "Train").click()
        until_over()
        later = []
        asked = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        asked.start()
        asked.join(SECONDS)
        assert counts == [1] and torch.get_num_threads() == 2 and later == [2]
    finally:
        torch.set_num_threads(before)


def test_every_control_has_a_description_and_the_picture_a_text(shown):
    explorer.explore(data=small_data(), recipe=TINY)
    kinds = (ipywidgets.Dropdown, ipywidgets.ToggleButtons, ipywidgets.SelectionSlider, ipywidgets.Button)
    controls = [widget for widget in everything(shown[0]) if isinstance(widget, kinds)]
    assert [widget.description for widget in controls] == ["Depth", "Shortcut", "Learning rate", "Train", "Stop", "Clear"]
    assert alt(shown[0]).startswith("Running training error") and "No net yet" in alt(shown[0])
    found(shown[0], "Train").click()
    until_over()
    assert "1: plain 20, rate 0.05, " in alt(shown[0]) and "percent at iteration 6." in alt(shown[0])


def test_no_widget_has_a_tooltip_that_breaks_it_in_a_browser(shown):
    """ipywidgets 8 shows a JavaScript error instead of a widget, such as Image, that has a tooltip and no description."""
    explorer.explore(data=small_data(), recipe=TINY)
    assert all(hasattr(widget, "description") for widget in everything(shown[0]) if getattr(widget, "tooltip", None))


def test_the_nets_are_those_of_the_recorded_study():
    study = yaml.safe_load((ROOT / "studies" / "digits-speed.yaml").read_text())
    planned = {recipes.get_recipe(name) for part in study["grid"] for name in part["recipes"]}
    same = {"name": "", "statistics": "moving", "average_batches": 1}  # which only the final errors depend on
    ours = {recipes.get_recipe(explorer.RECIPE).replaced(rate=rate, **same) for rate in explorer.RATES}
    assert {recipe.replaced(**same) for recipe in planned} <= ours
    assert f"--width {explorer.WIDTH} " in study["options"]


@pytest.mark.parametrize("why", ["silenced", "no kernel"])
def test_where_nobody_can_see_it_one_line_stands_for_it(why, shown, capsys, monkeypatch):
    if why == "silenced":
        monkeypatch.setattr(explorer, "silenced", lambda: True)
    else:
        monkeypatch.setattr(explorer, "in_notebook", lambda: False)
    explorer.explore()
    assert capsys.readouterr().out == f"{explorer.STATIC}\n" and not shown


HEAVY = "{'torch', 'ipywidgets.widgets.widget_box'}"
NOT_LIVE = f"import sys\nfrom resnet_nb.live.explorer import explore\nexplore()\nassert not {HEAVY} & set(sys.modules)"
LIVE = "from resnet_nb.live import explorer\nexplorer.in_notebook, explorer.silenced = lambda: True, lambda: False\nexplorer.explore()"


def in_a_process(code: str, *path: Path) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT)))}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    return run.returncode, run.stdout, run.stderr


def test_not_live_it_leaves_torch_and_widgets_alone():
    assert in_a_process(NOT_LIVE) == (0, f"{explorer.STATIC}\n", "")


def test_where_torch_is_not_installed_the_line_stands_for_it():
    assert in_a_process(LIVE, ROOT / "tests" / "without_torch") == (0, f"{explorer.STATIC}\n", "")


def test_showing_it_live_does_not_import_torch_yet():
    code = f"import sys\n{LIVE}\nassert explorer._shown and 'torch' not in sys.modules"
    assert in_a_process(code)[0] == 0


def test_a_process_that_ends_while_a_net_trains_ends_cleanly():
    code = (
        f"import threading\n{LIVE}\n"
        "seen, say = threading.Event(), explorer._shown._say\n"
        "explorer._shown._say = lambda text, *more: (say(text, *more), 'iteration' in text and seen.set())\n"
        "explorer._shown.train.click()\nassert seen.wait(90) and explorer._shown.training"
    )
    status, _, complaints = in_a_process(code)
    assert (status, complaints) == (0, "")


def speed_runs(**changes: object) -> list[dict]:
    """A record for each panel and depth of the static figure, whose error falls the later the deeper and the smaller the rate."""
    runs = []
    for family in ("plain", "resnet"):
        for rate in (0.01, 0.05, 0.1):
            for depth in (8, 20, 32):
                last = int(depth / rate)
                curve = {"iteration": [5, last // 2, last], "loss": [2.0, 1.0, 0.1], "error": [90.0, 40.0, 2.0]}
                recipe = {"rate": rate, "iterations": 4000, "stop_at_loss": 0.15}
                final = {"iteration": last}
                runs.append(training_record(model={"name": f"{family}{depth}"}, recipe=recipe, iterations=4000, curve=curve, final=final, **changes))
    return runs


def test_the_static_panel_draws_each_depth_in_the_panel_of_its_shortcut_and_rate():
    figure = figures.explored(speed_runs() + speed_runs(seed=1), "A finding")
    assert figure.get_suptitle() == "A finding"
    titles = [f"{kind} nets, rate {rate}" for kind in ("plain", "residual") for rate in (0.01, 0.05, 0.1)]
    assert [axis.get_title("left") for axis in figure.axes] == titles
    for axis, rate in zip(figure.axes, (0.01, 0.05, 0.1) * 2, strict=True):
        ends = [line.get_xdata()[-1] for line in axis.get_lines()]
        assert ends == [int(depth / rate) for depth in (8, 20, 32)]
        assert [text.get_text() for text in axis.texts if text.get_text().isdigit()] == ["8", "20", "32"]
        assert all(text.get_fontsize() >= 8 for text in axis.texts)
        assert axis.get_xlim()[1] > 3200


def test_the_static_panel_marks_the_runs_that_arrived():
    runs = speed_runs()
    runs[0]["curve"]["loss"][-1] = 0.2
    lines = figures.explored(runs, "A finding").axes[0].get_lines()
    assert [line.get_marker() for line in lines] == ["", "s", "s"]


def test_the_static_panel_names_a_run_that_is_absent():
    with pytest.raises(ValueError, match="seed 0, of residual 32 at 0.1.$"):
        figures.explored(speed_runs()[:-1], "A finding")


def test_numbers_stand_on_their_own_line_and_apart():
    points = [(5 * step, 1.0, max(2.0, 95 - 4.0 * step)) for step in range(1, 30)]
    above = [(step, loss, min(90, error + 9)) for step, loss, error in points]
    runs = [Watched(1, "net 1", "plain", points), Watched(2, "net 2", "plain", above), Watched(3, "just begun", "residual", [])]
    axis, beside = (figure := watched(runs, 5)).axes
    assert [text.get_text() for text in beside.texts] == ["1: net 1", "2: net 2", "3: just begun"]
    assert [text.get_fontweight() for text in beside.texts] == ["normal", "normal", "bold"]
    figure.draw_without_rendering()
    places = {text.get_text(): text.get_position() for text in axis.texts}
    assert set(places) == {"1", "2"}
    (x1, y1), (x2, y2) = places["1"], places["2"]
    assert abs(x1 - x2) + abs(y1 - y2) > 0.08
    for run, place in zip(runs, (places["1"], places["2"]), strict=False):
        x, y = (axis.transAxes + axis.transData.inverted()).transform(place)
        near = [error for step, _, error in run.points if abs(step - x) <= 5]
        assert min(near) - 1 <= y <= max(near) + 1


def test_the_live_picture_leaves_matplotlibs_settings_alone(monkeypatch):
    import matplotlib

    monkeypatch.setattr(matplotlib, "rc_context", None)
    picture = io.BytesIO()
    watched([], 5).savefig(picture, format="png")  # fails where the style is entered
    assert picture.getvalue().startswith(b"\x89PNG")
