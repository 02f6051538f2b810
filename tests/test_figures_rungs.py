"""The figures of the protocol dispute hold the numbers of their tables."""

import pandas as pd
import pytest
from test_averaging import crops
from test_views import views as random_views

from resnet_nb.figures.rungs import averaged_views, gains, ladder, scales
from resnet_nb.findings import averaging
from resnet_nb.findings.ladder import Rung, by_scale
from resnet_nb.findings.ladder import ladder as measured


def test_the_ladder_draws_every_rung_and_what_it_breaks_and_repairs() -> None:
    views = crops(200)
    table = measured({"one view": Rung(views.where(place="place 0")), "five views": Rung(views)})
    left, right = ladder(table, "A finding").axes
    drawn = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "o"]
    assert drawn == pytest.approx(table["error"])
    assert [bar.get_width() for bar in right.patches] == [table["repaired"][1], -table["broken"][1]]
    assert [label.get_text() for label in left.get_yticklabels()] == ["one view\n(1 pass, cost 1)", "five views\n(5 passes, cost 5)"]


def test_an_error_beyond_the_end_is_an_arrow_with_its_number() -> None:
    views = crops(200)
    table = measured({"one view": Rung(views.where(place="place 0")), "five views": Rung(views)})
    left, _ = ladder(table, "A finding", most=float(table["error"].min()) + 1e-6).axes
    assert f"{table['error'].max():.2f}" in [text.get_text() for text in left.texts]


def test_each_nets_errors_are_drawn_in_the_order_of_the_protocols() -> None:
    found = random_views(60)
    found.about.update({"protocols": [{"crop": 32}]})
    tables = {name: by_scale(found.where(rule=["", "softmax"]), 32) for name in ("one size", "several sizes")}
    assert tables["one size"]["rung"].tolist() == ["one view", "with its mirror", "dense at 40", "multi-scale"]
    (axis,) = scales(tables, "A finding").axes
    assert [list(line.get_ydata()) for line in axis.lines if len(line.get_ydata()) == 4][0] == tables["one size"]["error"].tolist()


def test_the_means_are_drawn_over_the_number_of_views() -> None:
    table = averaging.by_count(crops(100))
    loss, squared, error = averaged_views(table, "A finding").axes
    assert list(loss.lines[0].get_ydata()) == table["loss"].tolist() and list(error.lines[0].get_ydata()) == table["error"].tolist()
    assert list(squared.lines[0].get_ydata()) == table["law"].tolist()


def test_gains_are_bars_in_the_tables_order_with_published_ones_open() -> None:
    rows = [("ImageNet", "protocol", "1-crop to 10-crop", 1.85, True), ("ImageNet", "depth", "50 to 152", 1.7, True)]
    rows += [("CIFAR", "depth", "20 to 56", 1.6, False)]
    figure = gains(pd.DataFrame(rows, columns=["where", "what", "label", "gain", "published"]), "A finding")
    first, second = figure.axes
    assert [bar.get_width() for bar in first.patches] == [1.7, 1.85] and first.patches[0].get_facecolor()[:3] == (1, 1, 1)
    assert [bar.get_width() for bar in second.patches] == [1.6] and second.patches[0].get_facecolor()[:3] != (1, 1, 1)
