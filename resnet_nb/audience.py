"""Who looks on while something runs: a live notebook, the one process of several that speaks, or nobody."""

import os


def leads() -> bool:
    """Whether this process speaks for its run: it is the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def silenced() -> bool:
    """Whether RESNET_NB_PROGRESS=off asks for no bars and no live widgets, as in notebooks whose outputs are kept."""
    return os.environ.get("RESNET_NB_PROGRESS", "").lower() == "off"


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code, so that a widget can be seen."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None
