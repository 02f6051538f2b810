"""Explorers as a live notebook shows them, for tests that work their controls."""

from types import ModuleType

import ipywidgets
import pytest


def displayed_by(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list:
    """What the module's explore() displays from now on, as in a notebook that is live."""
    boxes: list = []
    monkeypatch.setattr(module, "display", boxes.append)
    monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr(module, "silenced", lambda: False)
    return boxes


def everything(box: ipywidgets.Widget) -> list[ipywidgets.Widget]:
    """A widget and all that lies in it."""
    return [box, *(inner for child in getattr(box, "children", ()) for inner in everything(child))]


def found(box: ipywidgets.Widget, description: str) -> ipywidgets.Widget:
    """The control of that name."""
    return next(widget for widget in everything(box) if getattr(widget, "description", "") == description)
