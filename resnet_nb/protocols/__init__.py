"""Test protocols of He et al. (2015), section 3.4: how one trained network gives several error rates.

geometry  which views of a picture a protocol scores     heads    a net's last map and classifier, dense scores
sources   pictures decoded and resized, or refused       scoring  nets made ready, batches, precision
infer     run(): pictures and nets to scores, in chunks  cost     FLOPs of a protocol

`geometry` needs no torch; what does is imported when it is first asked for.
"""

from importlib import import_module

from resnet_nb.protocols.geometry import Box, Preprocessing, Protocol, View, box

LATER = {"Chunk": "infer", "Scores": "infer", "average": "infer", "run": "infer", "Failure": "sources"}

__all__ = ["Box", "Chunk", "Failure", "Preprocessing", "Protocol", "Scores", "View", "average", "box", "run"]


def __getattr__(name: str) -> object:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{LATER[name]}"), name)
