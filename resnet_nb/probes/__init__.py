"""Probes: measurements of a net's layers, each a function of a model and a batch that leaves the model as it was."""

from resnet_nb.probes.trace import LayerTrace, trace_steps

__all__ = ["LayerTrace", "trace_steps"]
