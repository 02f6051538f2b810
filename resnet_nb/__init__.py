"""resnet_nb: the helper package of the notebooks about residual networks and their published numbers."""

__version__ = "0.1.0"
