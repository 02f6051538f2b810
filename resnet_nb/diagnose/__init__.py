"""Why does my number differ? Known causes by the size and sign of the gap, and probes that try them on one's own net and pictures.

`causes` needs two numbers alone and no torch; `probes` needs a net, pictures and their labels.
"""

from resnet_nb.diagnose.causes import Cause, Effect, load_causes, matching

__all__ = ["Cause", "Effect", "load_causes", "matching"]
