"""Redundancy of channels, states and updates: closed forms, brute force, invariances, and what can be moved without changing the function."""

import copy
import math
from collections.abc import Iterator
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from resnet_nb.errors import InputError
from resnet_nb.findings import similarity
from resnet_nb.models import build_model
from resnet_nb.probes import redundancy, regauge
from resnet_nb.probes.redundancy import COLUMNS, moments

MEASURES = ["effective_rank", "participation", "scaled_rank", "correlation", "cka", "position_cka", "unexplained"]


def samples(seed: int, count: int = 40, channels: int = 5) -> np.ndarray:
    """Correlated, with a mean that is not 0."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, channels)) @ rng.normal(size=(channels, channels)) + 3


def cov(one: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    other = one if other is None else other
    return (one - one.mean(0)).T @ (other - other.mean(0)) / len(one)


def rotation(seed: int, channels: int = 5) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(channels, channels)))[0]


# the measures


@pytest.mark.parametrize("channels", [1, 2, 64])
def test_of_equal_independent_channels_every_direction_counts(channels: int) -> None:
    identity = 7.0 * np.eye(channels)
    assert similarity.effective_rank(identity) == pytest.approx(channels)
    assert similarity.participation_ratio(identity) == pytest.approx(channels)
    found = similarity.mean_correlation(identity)
    assert found == 0 if channels > 1 else math.isnan(found)


def test_of_copies_of_one_channel_one_direction_counts() -> None:
    weights = np.array([1.0, -2.0, 3.0, 0.5])
    rank_one = np.outer(weights, weights)
    assert similarity.effective_rank(rank_one) == pytest.approx(1, abs=1e-6)
    assert similarity.participation_ratio(rank_one) == pytest.approx(1)
    assert similarity.mean_correlation(rank_one) == pytest.approx(1)


def test_two_unequal_directions_by_hand() -> None:
    """Shares 0.8 and 0.2: entropy 0.5004 nats; 1 / (0.64 + 0.04)."""
    covariance = np.diag([4.0, 1.0, 0.0])
    assert similarity.effective_rank(covariance) == pytest.approx(math.exp(0.500402), abs=1e-5)
    assert similarity.participation_ratio(covariance) == pytest.approx(1 / 0.68)
    assert similarity.mean_correlation(np.array([[4.0, -1.0], [-1.0, 1.0]])) == pytest.approx(0.5)


def test_equal_correlations_have_a_known_spectrum() -> None:
    """C channels with correlation r: one eigenvalue 1 + (C - 1) r, the others 1 - r."""
    channels, r = 6, 0.4
    covariance = np.full((channels, channels), r) + (1 - r) * np.eye(channels)
    shares = np.array([1 + (channels - 1) * r, *[1 - r] * (channels - 1)]) / channels
    assert similarity.effective_rank(covariance) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert similarity.mean_correlation(covariance) == pytest.approx(r)
    assert similarity.participation_ratio(covariance) == pytest.approx(channels / (1 + (channels - 1) * r**2))


def test_dead_channels_are_counted_and_left_out() -> None:
    three = cov(samples(0, channels=3))
    padded = np.zeros((5, 5))
    padded[:3, :3] = three
    found = similarity.within(similarity.Moments(40, np.zeros(5), padded))
    assert found["dead"] == 2 and found["channels"] == 5
    assert found["correlation"] == pytest.approx(similarity.mean_correlation(three))
    assert found["effective_rank"] == pytest.approx(similarity.effective_rank(three) / 5)
    assert found["scaled_rank"] == pytest.approx(similarity.effective_rank(np.corrcoef(samples(0, channels=3).T)) / 5)
    nothing = similarity.within(similarity.Moments(40, np.zeros(5), np.zeros((5, 5))))
    assert nothing["dead"] == 5 and all(math.isnan(nothing[name]) for name in ("effective_rank", "participation", "scaled_rank", "correlation"))
    zero = np.zeros((3, 3))
    assert all(math.isnan(measure(three, zero, zero)) for measure in (similarity.position_cka, similarity.unexplained))


def gram_cka(one: np.ndarray, other: np.ndarray) -> float:
    """HSIC with Gram matrices (N, N), as Kornblith et al. define it; not by covariances."""
    centre = np.eye(len(one)) - 1 / len(one)
    grams = [centre @ array @ array.T @ centre for array in (one, other)]
    hsic = [[np.trace(left @ right) for right in grams] for left in grams]
    return hsic[0][1] / math.sqrt(hsic[0][0] * hsic[1][1])


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_cka_of_positions_is_that_of_gram_matrices(seed: int) -> None:
    one, other = samples(seed), samples(seed + 1, channels=3)
    other[:, 0] += one[:, 1]
    assert similarity.position_cka(cov(one), cov(other), cov(one, other)) == pytest.approx(gram_cka(one, other), rel=1e-9)


def unbiased_cka(one: np.ndarray, other: np.ndarray) -> float:
    """By counting: HSIC as the mean of K_ij L_ij + K_ij L_qr - 2 K_ij L_iq over all different images i, j, q, r (Song et al. 2012, eq. 4)."""

    def by_counting(left: np.ndarray, right: np.ndarray) -> float:
        terms = [left[i, j] * (right[i, j] + right[q, r] - 2 * right[i, q]) for i, j, q, r in permutations(range(len(left)), 4)]
        return float(np.mean(terms))

    grams = [array @ array.T for array in (one, other)]
    return by_counting(*grams) / math.sqrt(by_counting(grams[0], grams[0]) * by_counting(grams[1], grams[1]))


def test_hsic_is_that_of_counting_and_its_diagonals_do_not_count() -> None:
    one, other = samples(0, 7), samples(1, 7)
    grams = [array @ array.T for array in (one, other)]
    i, j, q, r = np.array(list(permutations(range(7), 4))).T
    terms = grams[0][i, j] * (grams[1][i, j] + grams[1][q, r] - 2 * grams[1][i, q])
    assert similarity.hsic(*grams) == pytest.approx(terms.mean(), rel=1e-6)  # its size too, which leaves CKA
    found = similarity.cka(similarity.hsic(*grams), similarity.hsic(grams[0], grams[0]), similarity.hsic(grams[1], grams[1]))
    assert found == pytest.approx(unbiased_cka(one, other), rel=1e-6)
    moved = [gram + np.diag(np.arange(7.0)) for gram in grams]
    assert similarity.hsic(*moved) == pytest.approx(similarity.hsic(*grams))


def test_few_images_with_many_features_are_not_alike_for_that() -> None:
    """Of independent layers the usual estimate says 0.99, the unbiased one about 0."""
    one, other = (np.random.default_rng(seed).normal(size=(20, 4_000)) for seed in range(2))
    grams = [array @ array.T for array in (one, other)]
    unbiased = similarity.hsic(*grams) / math.sqrt(similarity.hsic(grams[0], grams[0]) * similarity.hsic(grams[1], grams[1]))
    assert gram_cka(one, other) > 0.95 and abs(unbiased) < 0.3


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_unexplained_is_that_of_a_regression(seed: int) -> None:
    one, other = samples(seed), samples(seed + 1, channels=3) + samples(seed) @ np.random.default_rng(seed).normal(size=(5, 3))
    design = np.column_stack([one, np.ones(len(one))])
    residual = other - design @ np.linalg.lstsq(design, other)[0]
    expected = (residual.var(0) / other.var(0)).mean()
    assert similarity.unexplained(cov(one), cov(other), cov(one, other)) == pytest.approx(expected, abs=1e-7)


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=30)
def test_what_rotations_and_scales_change(seed: int, factor: float) -> None:
    one, other = samples(seed), samples(seed + 1)
    turned, larger = one @ rotation(seed), one * factor
    for measure in (similarity.effective_rank, similarity.participation_ratio):
        assert measure(cov(turned)) == pytest.approx(measure(cov(one)), rel=1e-6)
        assert measure(cov(larger)) == pytest.approx(measure(cov(one)), rel=1e-6)
    for changed in (turned, larger):
        found = similarity.position_cka(cov(changed), cov(other), cov(changed, other))
        assert found == pytest.approx(similarity.position_cka(cov(one), cov(other), cov(one, other)), rel=1e-6)
    scales = np.exp(np.random.default_rng(seed).normal(size=5))
    assert similarity.mean_correlation(cov(one * scales)) == pytest.approx(similarity.mean_correlation(cov(one)))
    mixed = one @ (rotation(seed) * scales)
    assert similarity.unexplained(cov(mixed), cov(other), cov(mixed, other)) == pytest.approx(
        similarity.unexplained(cov(one), cov(other), cov(one, other)), abs=1e-5
    )


def test_a_layer_is_like_itself_and_unlike_an_independent_one() -> None:
    one, other = samples(0, 20_000), samples(1, 20_000)
    assert similarity.position_cka(cov(one), cov(one), cov(one)) == pytest.approx(1)
    assert similarity.unexplained(cov(one), cov(one), cov(one)) == pytest.approx(0, abs=1e-9)
    assert similarity.position_cka(cov(one), cov(other), cov(one, other)) < 0.01
    assert similarity.unexplained(cov(one), cov(other), cov(one, other)) > 0.99


def test_one_point_far_off_moves_cka_and_not_what_separates_the_others() -> None:
    """Davari et al. (2022, arXiv 2210.16156): translating few points changes CKA as one likes; every other point stays where it was."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(500, 5)), rng.normal(size=(500, 5))
    before = similarity.position_cka(cov(one), cov(other), cov(one, other))
    moved = [array.copy() for array in (one, other)]
    for array in moved:
        array[0] = 1_000
    after = similarity.position_cka(cov(moved[0]), cov(moved[1]), cov(*moved))
    assert before < 0.1 and after > 0.99
    apart = one.copy()
    apart[0] = 1_000  # the same layer but for one point
    assert similarity.position_cka(cov(one), cov(apart), cov(one, apart)) < 0.5


# the probe


def net_and_images(name: str, **options: object) -> tuple[nn.Module, Tensor]:
    """Statistics and offsets that are not those of initialisation."""
    net = build_model(name, width=4, in_channels=1, **options)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(12, 1, 8, 8, generator=generator)
    for _ in range(3):
        net.train()(images)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight += 0.3 * torch.randn(module.weight.shape, generator=generator)
                module.bias += 0.3 * torch.randn(module.bias.shape, generator=generator)
    return net.eval(), images


def by_hand(net: nn.Module, images: Tensor) -> Iterator[tuple[str, int, np.ndarray, np.ndarray | None]]:
    """Each kind, block, its samples (N H W, C) and the input's where of one shape, computed without hooks, in float64."""
    net = copy.deepcopy(net).double()
    flat = lambda tensor: tensor.detach().permute(0, 2, 3, 1).reshape(-1, tensor.shape[1]).numpy()  # noqa: E731
    x = F.relu(net.bn1(net.conv1(images.double())))
    yield "state", 0, flat(x), None
    for number, block in enumerate([block for stage in net.stages for block in getattr(net, stage)], 1):
        branch = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
        out = F.relu(branch + block.downsample(x) if block.residual else branch)
        same = out.shape == x.shape
        yield "branch", number, flat(branch), flat(x) if same else None
        if same:
            yield "change", number, flat(out - x), flat(x)
        yield "state", number, flat(out), None
        x = out


@pytest.mark.parametrize("name", ["plain14", "resnet14", "resnet14-B"])
def test_the_probe_gives_what_whole_activations_give(name: str) -> None:
    net, images = net_and_images(name)
    images = images[:6]
    table = redundancy(net, images, chunk=6).set_index(["kind", "block"])
    assert tuple(table.reset_index()[list(COLUMNS)].columns) == COLUMNS
    last: dict[str, tuple[int, np.ndarray]] = {}
    seen = 0
    for kind, block, array, reference in by_hand(net, images):
        row = table.loc[kind, block]
        assert row["stage"] == 1 + max(block - 1, 0) // 2  # the first block's input is of its stage
        live = array[:, array.std(0) > 1e-9]
        eigenvalues = np.linalg.svd(array - array.mean(0), compute_uv=False) ** 2
        shares = eigenvalues[eigenvalues > 1e-12] / eigenvalues.sum()
        assert row["effective_rank"] * array.shape[1] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-4)
        assert row["participation"] * array.shape[1] == pytest.approx(1 / (shares**2).sum(), rel=1e-4)
        pairs = np.corrcoef(live.T)[np.triu_indices(live.shape[1], 1)]
        assert row["correlation"] == pytest.approx(np.abs(pairs).mean(), rel=1e-4)
        assert row["dead"] == array.shape[1] - live.shape[1]
        if reference is None:
            assert math.isnan(row["size"])
        else:
            assert row["size"] == pytest.approx(np.linalg.norm(array) / np.linalg.norm(reference), rel=1e-4)
        place, before = last.get(kind, (None, None))
        if place == block - 1 and before.shape == array.shape:
            assert row["position_cka"] == pytest.approx(gram_cka(before, array), rel=1e-4)
            assert row["cka"] == pytest.approx(unbiased_cka(before.reshape(len(images), -1), array.reshape(len(images), -1)), rel=1e-4)
            seen += 1
        else:
            assert math.isnan(row["cka"]) and math.isnan(row["unexplained"])
        last[kind] = block, array
    found = moments(net, images)[0]
    for kind, block, array, _ in by_hand(net, images):
        assert found[kind, block].mean == pytest.approx(array.mean(0), rel=1e-4, abs=1e-6), (kind, block)  # its sign too, which no measure shows
        assert found[kind, block].covariance == pytest.approx(cov(array), rel=1e-3, abs=1e-6) and found[kind, block].count == len(array)
    assert seen == 4 + 3 + 1 and len(table) == 7 + 6 + 4 and table.reset_index()["stage"].max() == 3
    # pairs in stages 1, 2, 3: states 2 + 1 + 1 (the stem's output precedes block 1), branches 1 each, changes 1 + 0 + 0


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_statistics", [False, True])
def test_the_net_is_left_as_it_was(training: bool, batch_statistics: bool) -> None:
    net, images = net_and_images("resnet14")
    net.train(training)
    net.layer1[0].bn1.eval()  # one module in a mode of its own
    net(images).sum().backward()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    grads = [parameter.grad.clone() for parameter in net.parameters()]
    modes = [module.training for module in net.modules()]
    redundancy(net, images, batch_statistics=batch_statistics)
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert all(torch.equal(parameter.grad, grad) for parameter, grad in zip(net.parameters(), grads, strict=True))
    assert modes == [module.training for module in net.modules()]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_neither_the_mode_nor_the_chunks_matter() -> None:
    net, images = net_and_images("plain14")
    whole = redundancy(net, images)
    apart = redundancy(net.train(), images, chunk=5)
    pd.testing.assert_frame_equal(apart.drop(columns="cka"), whole.drop(columns="cka"), rtol=1e-4)
    by_batch = redundancy(net, images, batch_statistics=True)
    pd.testing.assert_frame_equal(redundancy(net, images, chunk=5, batch_statistics=True), by_batch)
    assert not np.allclose(by_batch["correlation"], whole["correlation"], rtol=1e-3)


def test_cka_takes_pairs_of_images_within_a_chunk_and_chunks_take_every_so_manieth() -> None:
    net, images = net_and_images("plain14")
    sums = np.zeros(3)
    for part in (images[start::2] for start in range(2)):
        states = [array.reshape(len(part), -1) for kind, _, array, _ in by_hand(net, part) if kind == "state"][:2]
        old, new = (array @ array.T for array in states)
        sums += [similarity.hsic(old, new), similarity.hsic(old, old), similarity.hsic(new, new)]
    found = redundancy(net, images, chunk=6).set_index(["kind", "block"]).loc["state", 1]["cka"]
    assert found == pytest.approx(sums[0] / math.sqrt(sums[1] * sums[2]), rel=1e-4)


def test_a_chunk_holds_no_more_than_was_asked_for_and_four_images_are_enough_for_cka() -> None:
    net, images = net_and_images("plain14")
    seen: list[int] = []
    net.conv1.register_forward_hook(lambda module, given, output: seen.append(len(output)))
    assert redundancy(net, images, chunk=5)["cka"].notna().any() and seen == [4, 4, 4]


def test_what_ends_one_chunk_is_not_what_the_next_begins_with() -> None:
    """In a net of one stage all shapes are alike, so that nothing but the order tells them apart."""
    net = nn.Module()
    net.layer1 = nn.Sequential(Bottleneck(16, 4), Bottleneck(16, 4)).eval()
    net.forward = net.layer1.forward
    images = torch.randn(12, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    whole, apart = redundancy(net, images), redundancy(net, images, chunk=4)
    pd.testing.assert_frame_equal(apart.drop(columns="cka"), whole.drop(columns="cka"), rtol=1e-4)
    assert apart.query("kind == 'state'")["position_cka"].isna().tolist() == [True, False, False]


def test_chunks_too_small_have_no_cka_and_all_else() -> None:
    net, images = net_and_images("resnet14")
    table = redundancy(net, images, chunk=3)
    assert table["cka"].isna().all() and table["position_cka"].notna().sum() == 8


def test_moments_bear_a_large_mean() -> None:
    """Sums in float32 would lose the variance beside a mean of 1,000."""
    net = build_model("resnet14", width=4, in_channels=1, norm="none").eval()
    with torch.no_grad():
        net.conv1.bias += 1_000
    images = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    state = moments(net, images)[0]["state", 0]
    found = F.relu(net.conv1(images)).detach().double().permute(0, 2, 3, 1).reshape(-1, 4).numpy()
    assert state.covariance == pytest.approx(cov(found), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_bottlenecks_of_torchvision_are_measured_after_their_third_normalisation(dtype: torch.dtype) -> None:
    net = nn.Module()
    net.layer1 = nn.Sequential(Bottleneck(16, 4), Bottleneck(16, 4)).eval()  # with ReLUs and additions in place
    net.forward = net.layer1.forward
    net.to(dtype, memory_format=torch.channels_last)
    images = torch.randn(6, 16, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype, memory_format=torch.channels_last)
    table = redundancy(net, images).set_index(["kind", "block"])
    block = net.layer1[0]
    with torch.no_grad():
        branch = block.bn3(block.conv3(F.relu(block.bn2(block.conv2(F.relu(block.bn1(block.conv1(images))))))))
    assert table.loc["branch", 1]["size"] == pytest.approx(float(branch.norm() / images.norm()), rel=1e-5)
    assert table.loc["change", 1]["size"] == pytest.approx(float((F.relu(branch + images) - images).norm() / images.norm()), rel=1e-5)


@pytest.mark.parametrize("net", [nn.Linear(3, 2), build_model("torchvision:squeezenet1_1", classes=4)], ids=["linear", "squeezenet"])
def test_a_net_without_blocks_is_refused(net: nn.Module) -> None:
    with pytest.raises(InputError, match="block"):
        redundancy(net, torch.zeros(2, 3, 32, 32))


# what can be moved without changing the function


def test_the_same_function_has_another_rank_and_another_cka() -> None:
    net, images = net_and_images("plain14")
    other = regauge(net, 1, 30.0)
    with torch.no_grad():
        assert torch.allclose(net(images), other(images), atol=1e-5)
        assert torch.allclose(net.train()(images), other.train()(images), atol=1e-4)
    before, after = (redundancy(one, images).set_index(["kind", "block"]).loc["state"] for one in (net, other))
    for name in ("effective_rank", "participation", "cka", "position_cka"):
        assert abs(after.loc[1, name] - before.loc[1, name]) > 0.05, name
    for name in ("scaled_rank", "correlation", "unexplained"):
        assert after.loc[[1, 2], name].to_numpy() == pytest.approx(before.loc[[1, 2], name].to_numpy(), abs=1e-4), name
    pd.testing.assert_frame_equal(after.drop([1, 2])[MEASURES], before.drop([1, 2])[MEASURES], rtol=1e-3)


def test_a_permuted_plain_net_changes_its_input_more_and_computes_the_same() -> None:
    """The difference between a plain net's states is a matter of how channels are numbered, CKA is not."""
    net, images = net_and_images("plain14")
    other, order = copy.deepcopy(net), torch.tensor([1, 2, 3, 0])
    block, following = other.layer1[0], other.layer1[1]
    with torch.no_grad():
        for tensor in (block.conv2.weight, block.bn2.weight, block.bn2.bias, block.bn2.running_mean, block.bn2.running_var):
            tensor.copy_(tensor[order].clone())
        following.conv1.weight.copy_(following.conv1.weight[:, order].clone())
        assert torch.allclose(net(images), other(images), atol=1e-5)
    before, after = (redundancy(one, images).set_index(["kind", "block"]) for one in (net, other))
    assert abs(after.loc["change", 1]["size"] / before.loc["change", 1]["size"] - 1) > 0.02
    assert after.loc["state", 1][MEASURES].to_numpy(float) == pytest.approx(before.loc["state", 1][MEASURES].to_numpy(float), abs=1e-4)


@pytest.mark.parametrize(("name", "block", "factor"), [("resnet14", 1, 2.0), ("plain14", 6, 2.0), ("plain14", 0, 2.0), ("plain14", 1, -1.0)])
def test_what_cannot_be_rescaled_is_refused(name: str, block: int, factor: float) -> None:
    with pytest.raises(InputError):
        regauge(net_and_images(name)[0], block, factor)
