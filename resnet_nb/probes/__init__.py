"""Probes: measurements of a net's layers, each a function of a model and a batch that leaves the model as it was."""

from resnet_nb.probes.redundancy import redundancy, regauge
from resnet_nb.probes.trace import LayerTrace, trace_steps

__all__ = ["LayerTrace", "redundancy", "regauge", "trace_steps"]
