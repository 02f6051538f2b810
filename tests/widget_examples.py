"""Explorers as a live notebook shows them, for tests that work their controls."""

import base64
import html
import re
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


def picture(box: ipywidgets.Widget) -> bytes:
    """The PNG file of the box's picture."""
    return base64.b64decode(_img(box)["src"].removeprefix("data:image/png;base64,"))


def alt(box: ipywidgets.Widget) -> str:
    """What stands for the box's picture where it is not seen."""
    return _img(box)["alt"]


def _img(box: ipywidgets.Widget) -> dict[str, str]:
    """The attributes of the one picture in the box."""
    (found,) = re.findall("<img [^>]*>", "".join(widget.value for widget in everything(box) if isinstance(widget, ipywidgets.HTML)))
    return {name: html.unescape(value) for name, value in re.findall('(\\w+)="([^"]*)"', found)}


def found(box: ipywidgets.Widget, description: str) -> ipywidgets.Widget:
    """The control of that name."""
    return next(widget for widget in everything(box) if getattr(widget, "description", "") == description)
