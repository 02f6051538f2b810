"""Paths of the gradient: their sum over every choice is the gradient, and those of one length are what a polynomial's coefficient is."""

import itertools
from math import comb

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from probe_examples import left_as_it_was, lively, some_images
from torch import Tensor

from resnet_nb.errors import InputError
from resnet_nb.probes import paths
from resnet_nb.probes.blocks import blocks, branch, in_place_of, shortcut
from resnet_nb.probes.paths import path_gradient, path_lengths

IMAGES, LABELS = some_images(6)


def gradient(net: torch.nn.Module, share: float) -> Tensor:
    """The input's gradient with every branch's part of it multiplied by `share`, the forward pass as it is."""

    def forward(block: torch.nn.Module, x: Tensor) -> Tensor:
        added = branch(block, x)
        return F.relu(share * added + (1 - share) * added.detach() + shortcut(block, x))

    images = IMAGES.clone().requires_grad_()
    with in_place_of(net, {name: lambda x, block=block: forward(block, x) for name, block in blocks(net).items()}):
        F.cross_entropy(net(images), LABELS, reduction="sum").backward()
    net.zero_grad(set_to_none=True)
    return images.grad


@pytest.mark.parametrize("name", ("resnet8", "resnet14-B"))
def test_the_paths_add_up_to_the_gradient(name: str) -> None:
    net = lively(name)
    names = list(blocks(net))
    every = [path_gradient(net, IMAGES, LABELS, chosen) for count in range(len(names) + 1) for chosen in itertools.combinations(names, count)]
    assert len(every) == 2 ** len(names)
    assert torch.allclose(sum(every), gradient(net, 1.0), rtol=1e-9)


def test_paths_of_one_length_are_a_coefficient_of_the_gradient_in_the_branches_share() -> None:
    """The gradient with branches times s is a polynomial in s, whose coefficients a Vandermonde matrix finds, without any path."""
    net = lively("resnet14")
    names = list(blocks(net))
    shares = np.linspace(-1, 1, len(names) + 1)
    values = torch.stack([gradient(net, share) for share in shares]).flatten(1).numpy()
    coefficients = np.linalg.solve(np.vander(shares, increasing=True), values)
    for length in range(len(names) + 1):
        found = sum(path_gradient(net, IMAGES, LABELS, chosen) for chosen in itertools.combinations(names, length))
        assert np.allclose(found.flatten().numpy(), coefficients[length], rtol=1e-6, atol=1e-9)


def test_the_table_has_the_norms_of_the_paths_that_it_drew() -> None:
    net = lively("resnet14")
    table = path_lengths(net, IMAGES, LABELS, draws=40)
    names = list(blocks(net))
    assert table["paths"].tolist() == [comb(6, length) for length in range(7)]
    assert table["share"].sum() == pytest.approx(1) and (table["total"] == table["paths"] * table["norm"]).all()
    for length in (0, 1, 6):
        norms = [path_gradient(net, IMAGES, LABELS, chosen).flatten(1).norm(dim=1).mean() for chosen in itertools.combinations(names, length)]
        assert table.loc[length, "norm"] == pytest.approx(float(sum(norms) / len(norms)), rel=0.25 if length == 1 else 1e-9)


def test_each_row_is_the_mean_of_its_own_random_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    net, drawn = lively("resnet14"), []

    def seen(net: torch.nn.Module, images: Tensor, labels: Tensor, branches: list[str]) -> Tensor:
        drawn.append(branches)
        return path_gradient(net, images, labels, branches)

    monkeypatch.setattr(paths, "path_gradient", seen)
    table = path_lengths(net, IMAGES, LABELS, lengths=(6, 2), draws=5, seed=3)
    assert table["length"].tolist() == [6, 2] and [len(chosen) for chosen in drawn] == [6] + 5 * [2]  # of the longest there is but one
    norms = [path_gradient(net, IMAGES, LABELS, chosen).square().sum((1, 2, 3)).sqrt().mean() for chosen in drawn]
    assert table["norm"].tolist() == pytest.approx([float(norms[0]), float(sum(norms[1:]) / 5)], rel=1e-9)
    total = table["total"].tolist()
    assert table["share"].tolist() == pytest.approx([value / sum(total) for value in total])

    of_seeds = []
    for seed in (3, 3, 4):
        drawn.clear()
        path_lengths(net, IMAGES, LABELS, lengths=(2,), draws=5, seed=seed)
        of_seeds.append([frozenset(chosen) for chosen in drawn])
    assert of_seeds[0] == of_seeds[1] != of_seeds[2] and all(len(set(chosen)) > 1 for chosen in of_seeds)


@pytest.mark.parametrize("training", (True, False))
def test_paths_leave_the_net_as_it_was(training: bool) -> None:
    net = lively("resnet8").train(training)
    net(IMAGES).sum().backward()
    images = IMAGES.clone()
    with left_as_it_was(net), torch.no_grad():
        path_lengths(net, images, LABELS, draws=1)
    assert images.grad is None and not images.requires_grad


def test_a_plain_net_and_an_unknown_block_are_refused() -> None:
    with pytest.raises(InputError, match="plain net's blocks add nothing"):
        path_lengths(lively("plain8"), IMAGES, LABELS)
    with pytest.raises(InputError, match="no block layer9.9"):
        path_gradient(lively("resnet8"), IMAGES, LABELS, ["layer9.9"])
