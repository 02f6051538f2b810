"""Lesions, against nets that are built without the block, and in its place."""

import copy
import itertools

import numpy as np
import pytest
import torch
import torchvision
from probe_examples import left_as_it_was, lively, some_images
from torch import nn

from resnet_nb.errors import InputError
from resnet_nb.models.nets import Block
from resnet_nb.probes import lesions
from resnet_nb.probes.blocks import blocks, branch, changes_shape, in_place_of, shortcut, without_branch
from resnet_nb.probes.lesions import deletable, delete_each, delete_random, deleted, error_and_loss, swap_random

IMAGES, LABELS = some_images()


class Sum(nn.Module):
    """Nothing but a shortcut."""

    def __init__(self, way: nn.Module):
        super().__init__()
        self.way = way

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.way(x))


@pytest.mark.parametrize("name", ("resnet14", "resnet14-B", "plain14"))
def test_a_deleted_block_is_a_net_that_is_built_without_it(name: str) -> None:
    net = lively(name)
    table = delete_each(net, IMAGES, LABELS).set_index("block")
    assert table.loc["none", ["error", "loss"]].tolist() == pytest.approx(error_and_loss(net, IMAGES, LABELS))
    for block in table.index[1:]:
        stage, place = block.split(".")
        built = copy.deepcopy(net)
        removed = getattr(built, stage)[int(place)]
        getattr(built, stage)[int(place)] = Sum(getattr(removed, "downsample", nn.Identity()))
        assert table.loc[block, ["error", "loss"]].tolist() == pytest.approx(error_and_loss(built, IMAGES, LABELS), rel=1e-12)
    assert table["loss"].nunique() == len(table)


def test_error_and_loss_are_those_of_numpy_whatever_the_mode_and_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    net = lively("plain8")
    scores = net(IMAGES).detach().numpy()
    wrong = np.mean([row.argmax() != label for row, label in zip(scores, LABELS.tolist(), strict=True)])
    own = [np.log(np.exp(row).sum()) - row[label] for row, label in zip(scores, LABELS.tolist(), strict=True)]
    assert 0 < wrong < 1 and wrong != 0.5
    for batch in (250, 5):
        monkeypatch.setattr(lesions, "BATCH", batch)
        assert error_and_loss(net.train(), IMAGES, LABELS) == pytest.approx((100 * wrong, np.mean(own)), rel=1e-9)
        rows = delete_each(net, IMAGES, LABELS)
        assert rows.loc[0, ["error", "loss"]].tolist() == pytest.approx([100 * wrong, np.mean(own)], rel=1e-9)


def test_each_row_names_its_stage_and_whether_the_map_is_halved() -> None:
    rows = delete_each(lively("resnet14"), IMAGES, LABELS)
    assert rows["block"].tolist() == ["none", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1"]
    assert rows["stage"].tolist() == [0, 1, 1, 2, 2, 3, 3]
    assert rows["downsampling"].tolist() == [False, False, False, True, False, True, False]


@pytest.mark.parametrize("name", ("tanh", "sigmoid", "none"))
def test_a_block_of_another_activation_is_its_branch_and_its_shortcut(name: str) -> None:
    """A second ReLU would change nothing, another function does."""
    block, function = Block(4, 4, option="A", activation=name).double().eval(), {"tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}.get(name)
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    added, apply = branch(block, x).detach().numpy(), function or (lambda z: z)
    assert np.allclose(apply(added + x.numpy()), block(x).detach().numpy(), rtol=1e-12)
    assert np.allclose(without_branch(block, x).detach().numpy(), apply(x.numpy()), rtol=1e-12)


def test_a_shape_changes_with_the_stride_and_with_the_channels() -> None:
    made = {(4, 4, 1): False, (4, 4, 2): True, (4, 8, 1): True, (4, 8, 2): True}
    assert {sizes: changes_shape(Block(*sizes, "A")) for sizes in made} == made


def test_a_plain_net_loses_no_block_that_halves_the_map_and_says_so() -> None:
    net = lively("plain14")
    assert deletable(net) == ["layer1.0", "layer1.1", "layer2.1", "layer3.1"] == deletable(net, downsampling=False)
    assert len(deletable(lively("resnet14"))) == 6 and len(deletable(lively("resnet14"), downsampling=False)) == 4
    with pytest.raises(InputError, match="halves the map"):
        deleted(net, ["layer2.0"])
    with pytest.raises(InputError, match="no block layer9.0"), in_place_of(net, {"layer9.0": torch.relu}):
        pass


def test_many_deletions_are_those_of_a_product_of_single_ones() -> None:
    """With all movable blocks deleted there is one way to do it, and it is the net of the other blocks."""
    net = lively("resnet14")
    table = delete_random(net, IMAGES, LABELS, (0, 2, 4), draws=3)
    assert table.groupby("deleted").size().tolist() == [3, 3, 3]
    assert table[table["deleted"] == 0]["loss"].tolist() == pytest.approx([error_and_loss(net, IMAGES, LABELS)[1]] * 3)
    built = copy.deepcopy(net)
    for name, block in blocks(net).items():
        if not changes_shape(block):
            stage, place = name.split(".")
            getattr(built, stage)[int(place)] = nn.Identity()
    assert table[table["deleted"] == 4]["loss"].tolist() == pytest.approx([error_and_loss(built, IMAGES, LABELS)[1]] * 3)
    assert all(len(row.blocks.split()) == row.deleted for row in table.itertuples())
    with pytest.raises(InputError, match="has 4 that keep"):
        delete_random(net, IMAGES, LABELS, (5,))


def test_draws_hang_on_the_seed_alone() -> None:
    net = lively("resnet20")
    for drawn, column in ((delete_random, "blocks"), (swap_random, "loss")):
        same = [drawn(net, IMAGES, LABELS, (1, 2), draws=6, seed=seed)[column].tolist() for seed in (0, 0, 1)]
        assert same[0] == same[1] != same[2] and len(set(same[0][:6])) > 1  # and each draw is one of its own


def test_a_swap_is_a_net_with_its_blocks_exchanged_and_tau_counts_the_pairs_out_of_order() -> None:
    net = lively("resnet20")
    table = swap_random(net, IMAGES, LABELS, (0, 1, 3), draws=4)
    assert table[table["swaps"] == 0]["tau"].tolist() == [1.0] * 4
    names = list(blocks(net))
    # the only exchange of layer2 and layer3, and the three of layer1, by hand
    losses = {}
    for one, other in itertools.combinations([name for name in names if not changes_shape(blocks(net)[name])], 2):
        if one.split(".")[0] == other.split(".")[0]:
            built = copy.deepcopy(net)
            stage, (a, b) = getattr(built, one.split(".")[0]), (int(one[-1]), int(other[-1]))
            stage[a], stage[b] = copy.deepcopy(stage[b]), copy.deepcopy(stage[a])
            order = list(range(len(names)))
            order[names.index(one)], order[names.index(other)] = order[names.index(other)], order[names.index(one)]
            wrong = sum(x > y for x, y in itertools.combinations(order, 2))
            losses[round(error_and_loss(built, IMAGES, LABELS)[1], 12)] = 1 - 2 * wrong / len(list(itertools.combinations(order, 2)))
    for row in table[table["swaps"] == 1].itertuples():
        assert losses[round(row.loss, 12)] == pytest.approx(row.tau)
    with pytest.raises(InputError, match="deeper net"):
        swap_random(lively("resnet8"), IMAGES, LABELS, (1,))


def test_many_swaps_are_one_order_of_the_same_blocks() -> None:
    """Each of the 24 orders within stages is built by hand; none has a block twice, and its parity is that of the number of swaps."""
    net = lively("resnet20")
    names, orders = list(blocks(net)), {}
    within = [itertools.permutations(range(3)), itertools.permutations(range(1, 3)), itertools.permutations(range(1, 3))]
    for first, second, third in itertools.product(*within):
        built, order = copy.deepcopy(net), [*first, 3, *(3 + place for place in second), 6, *(6 + place for place in third)]
        for stage, count in ((1, 0), (2, 3), (3, 6)):
            old = list(getattr(net, f"layer{stage}"))
            setattr(built, f"layer{stage}", nn.Sequential(*(copy.deepcopy(old[place - count]) for place in order[count : count + 3])))
        wrong = sum(x > y for x, y in itertools.combinations(order, 2))
        orders[round(error_and_loss(built, IMAGES, LABELS)[1], 10)] = 1 - 2 * wrong / 36, wrong % 2
    assert len(orders) == 24 and len(names) == 9
    for row in swap_random(net, IMAGES, LABELS, (2, 3, 6), draws=12).itertuples():
        tau, odd = orders[round(row.loss, 10)]
        assert row.tau == pytest.approx(tau) and odd == row.swaps % 2


def test_what_comes_before_a_deleted_block_is_not_computed_again() -> None:
    net, runs = lively("resnet20"), []
    for name, block in blocks(net).items():
        block.conv1.register_forward_hook(lambda *_, name=name: runs.append(name))
    delete_each(net, IMAGES, LABELS)
    assert [runs.count(name) for name in blocks(net)] == [1 + place for place in range(9)]  # intact, and with each of those before it deleted


@pytest.mark.parametrize("training", (True, False))
@pytest.mark.parametrize("name", ("resnet20", "plain20"))
def test_lesions_leave_the_net_as_it_was(name: str, training: bool) -> None:
    net = lively(name).train(training)
    net(IMAGES).sum().backward()
    with left_as_it_was(net):
        delete_each(net, IMAGES, LABELS)
        delete_random(net, IMAGES, LABELS, (1, 2), draws=2)
        swap_random(net, IMAGES, LABELS, (1,), draws=2)
        with pytest.raises(RuntimeError), in_place_of(net, {"layer1.0": lambda x: x}):
            raise RuntimeError


@pytest.mark.parametrize("name", ("resnet18", "resnet50"))
def test_torchvisions_blocks_are_known_too(name: str) -> None:
    net = getattr(torchvision.models, name)(num_classes=4).eval().double()
    x = torch.randn(2, 64, 8, 8, dtype=torch.float64).relu()
    for stage, count in zip((1, 2, 3, 4), (2, 2, 2, 2) if name == "resnet18" else (3, 4, 6, 3), strict=True):
        assert len([block for block in blocks(net) if block.startswith(f"layer{stage}")]) == count
        for block in getattr(net, f"layer{stage}"):
            assert torch.allclose(torch.relu(branch(block, x) + shortcut(block, x)), block(x))
            x = block(x)
    images, labels = some_images(4, channels=3, side=32)
    assert len(delete_each(net, images, labels)) == 1 + len(blocks(net))


def test_a_net_without_blocks_is_refused() -> None:
    with pytest.raises(InputError, match="no blocks"):
        blocks(torchvision.models.alexnet())


def test_random_choices_reach_every_block() -> None:
    net = lively("resnet14", dtype=torch.float32)
    images, labels = some_images(4, dtype=torch.float32)
    chosen = delete_random(net, images, labels, (1,), draws=40)["blocks"]
    assert set(chosen) == set(deletable(net, downsampling=False)) and np.isin(chosen, list(blocks(net))).all()
