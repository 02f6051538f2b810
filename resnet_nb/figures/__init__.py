"""Every figure of the notebooks, as functions of recorded runs and published numbers; nothing here imports torch.

Each returns a matplotlib Figure that belongs to nobody: show or save it.
"""

from resnet_nb.figures.architecture import plain_and_residual
from resnet_nb.figures.blocks import block_diagrams
from resnet_nb.figures.chosen import selection
from resnet_nb.figures.depth import error_by_depth, running_curve, training_curves
from resnet_nb.figures.explorer import explored
from resnet_nb.figures.gradients import autocorrelations, by_change, growths, layer_by_layer, shares_at_birth
from resnet_nb.figures.grown import evaluation_trap, trained_on
from resnet_nb.figures.inside import lesions, many_lesions, path_lengths, responses, shares
from resnet_nb.figures.landscape import loss_lines, loss_surfaces
from resnet_nb.figures.layers import layers_along_training
from resnet_nb.figures.protocols import crops_on_photograph, published_by_protocol, score_map
from resnet_nb.figures.published import measured_checkpoints, protocol_numbers, published_cifar
from resnet_nb.figures.redundancy import approximation_errors, redundancy_by_depth, redundancy_verdicts
from resnet_nb.figures.reproduction import beside_published, what_the_rule_sees
from resnet_nb.figures.rungs import averaged_views, gains, ladder, scales
from resnet_nb.figures.speed import chances, lengths, time_by_depth, time_by_setting
from resnet_nb.figures.style import house_style

__all__ = [
    "approximation_errors", "autocorrelations", "averaged_views", "beside_published", "block_diagrams", "by_change", "chances", "crops_on_photograph",
    "error_by_depth", "evaluation_trap", "explored", "gains", "growths", "house_style", "ladder", "layer_by_layer",
    "layers_along_training", "lengths", "lesions", "loss_lines", "loss_surfaces", "many_lesions", "measured_checkpoints", "path_lengths",
    "plain_and_residual", "protocol_numbers", "published_by_protocol", "published_cifar", "redundancy_by_depth", "redundancy_verdicts",
    "responses", "running_curve", "scales", "score_map", "selection", "shares", "shares_at_birth", "time_by_depth", "time_by_setting",
    "trained_on", "training_curves", "what_the_rule_sees",
]  # fmt: skip
