"""Slices of the loss: their centre, their scale, and a net small enough to write down."""

import itertools

import numpy as np
import pytest
import torch
from probe_examples import left_as_it_was, lively, some_images
from scipy.special import log_softmax
from torch import nn

from resnet_nb.probes.landscape import direction, line, surface
from resnet_nb.probes.lesions import error_and_loss
from resnet_nb.probes.responses import layer_responses, rescaled
from resnet_nb.protocols.evaluate import average_statistics

IMAGES, LABELS = some_images()
STEPS = (-0.5, 0.0, 0.5)


def test_every_filter_of_a_direction_has_the_norm_of_the_nets_own() -> None:
    net = lively("resnet8")
    found = direction(net, seed=3)
    assert list(found) == [name for name, _ in net.named_parameters()]
    for name, parameter in net.named_parameters():
        if parameter.ndim < 2:
            assert not found[name].any()
        else:
            assert torch.allclose(found[name].flatten(1).norm(dim=1), parameter.flatten(1).norm(dim=1), rtol=1e-6)
    assert all(torch.equal(one, other) for one, other in zip(found.values(), direction(net, 3).values(), strict=True))
    assert not torch.equal(found["conv1.weight"], direction(net, 4)["conv1.weight"])


def test_a_matrix_alone_has_the_losses_that_numpy_finds() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).double()
    table = line(net, IMAGES, LABELS, STEPS, seed=1)
    weight, bias = (parameter.detach().numpy() for parameter in net.parameters())
    drawn = torch.randn(4, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64).numpy()
    towards = drawn / np.linalg.norm(drawn, axis=1, keepdims=True) * np.linalg.norm(weight, axis=1, keepdims=True)
    for row in table.itertuples():
        scores = IMAGES.flatten(1).numpy() @ (weight + row.step * towards).T + bias
        own = log_softmax(scores, axis=1)[np.arange(len(LABELS)), LABELS.numpy()]
        assert row.loss == pytest.approx(-own.mean(), rel=1e-8)
        assert row.error == pytest.approx(100 * (scores.argmax(1) != LABELS.numpy()).mean())


def test_the_centre_is_the_net_and_the_edges_of_the_plane_are_its_lines() -> None:
    net = lively("resnet8")
    plane = surface(net, IMAGES, LABELS, STEPS, seed=2)
    assert list(zip(plane["step_a"], plane["step_b"], strict=True)) == list(itertools.product(STEPS, STEPS))  # step_b runs fastest
    at = plane.set_index(["step_a", "step_b"])
    assert tuple(at.loc[(0.0, 0.0), ["error", "loss"]]) == pytest.approx(error_and_loss(net, IMAGES, LABELS))
    assert at.loc[0.0]["loss"].tolist() == pytest.approx(line(net, IMAGES, LABELS, STEPS, seed=3)["loss"].tolist())
    assert at.xs(0.0, level="step_b")["loss"].tolist() == pytest.approx(line(net, IMAGES, LABELS, STEPS, seed=2)["loss"].tolist())


def test_scales_moved_between_layers_do_not_change_the_picture() -> None:
    """What filter normalisation is for."""
    net = lively("plain8")
    other = rescaled(net, {layer: 2.0 ** (place % 3 - 1) for place, layer in enumerate(layer_responses(net, IMAGES)["layer"])})
    ours, theirs = (line(one, IMAGES, LABELS, STEPS) for one in (net, other))
    assert ours["loss"].tolist() == pytest.approx(theirs["loss"].tolist(), rel=1e-8)


def test_statistics_averaged_anew_are_those_of_the_moved_weights() -> None:
    net = lively("plain8")
    batches = [some_images(16)[0], IMAGES]
    table = line(net, IMAGES, LABELS, STEPS, statistics=iter(batches)).set_index("step")
    for step in STEPS:
        moved = lively("plain8")
        with torch.no_grad():
            for name, parameter in moved.named_parameters():
                parameter += step * direction(net, 0)[name]
        average_statistics(moved, batches)
        assert table.loc[step, "loss"] == pytest.approx(error_and_loss(moved, IMAGES, LABELS)[1], rel=1e-8)
    assert table.loc[0.5, "loss"] != pytest.approx(line(net, IMAGES, LABELS, STEPS).set_index("step").loc[0.5, "loss"])


@pytest.mark.parametrize("training", (True, False))
def test_slices_leave_the_net_as_it_was(training: bool) -> None:
    net = lively("plain8").train(training)
    net(IMAGES).sum().backward()
    with left_as_it_was(net):
        line(net, IMAGES, LABELS, (0.5,), statistics=[IMAGES])
        surface(net, IMAGES, LABELS, (0.5,))
