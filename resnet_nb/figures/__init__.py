"""Every figure of the notebooks, as functions of recorded runs and published numbers; nothing here imports torch.

Each returns a matplotlib Figure that belongs to nobody: show or save it.
"""

from resnet_nb.figures.depth import error_by_depth, running_curve, training_curves
from resnet_nb.figures.explorer import explored
from resnet_nb.figures.published import protocol_numbers, published_cifar
from resnet_nb.figures.style import house_style

__all__ = ["error_by_depth", "explored", "house_style", "protocol_numbers", "published_cifar", "running_curve", "training_curves"]
