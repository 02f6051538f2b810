"""Test protocols of He et al. (2015), section 3.4: how one trained network gives several error rates.

geometry  which views of a picture a protocol scores     heads    a net's last map and classifier, dense scores
sources   pictures decoded and resized, or refused       scoring  nets made ready, batches, precision
infer     run(): pictures and nets to scores, in chunks  cost     FLOPs of a protocol
"""

from resnet_nb.protocols.geometry import Box, Preprocessing, Protocol, View, box
from resnet_nb.protocols.infer import Chunk, Scores, average, run
from resnet_nb.protocols.sources import Failure

__all__ = ["Box", "Chunk", "Failure", "Preprocessing", "Protocol", "Scores", "View", "average", "box", "run"]
