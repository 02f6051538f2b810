"""The construction argument carried out: the deeper net computes the shallower one's function, in which mode and why."""

import pytest
import torch
from torch import Tensor, nn

from resnet_nb.models import build_model, deepen

EXACT = 1e-12  # float64


@pytest.fixture(params=["plain20", "resnet20", "resnet20-C"])
def trained(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    """A small float64 net whose running statistics and scales are not the initial ones, and a batch."""
    generator = torch.Generator().manual_seed(1)
    net = build_model(request.param, width=8, in_channels=1).double()
    image = torch.randn(64, 1, 16, 16, dtype=torch.float64, generator=generator)
    optimiser = torch.optim.SGD(net.parameters(), 0.05)
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net.train()(image), torch.arange(64) % 10).backward()
        optimiser.step()
    return net, image


def outputs(net: nn.Module, image: Tensor, training: bool) -> Tensor:
    with torch.no_grad():
        return net.train(training)(image)


def test_a_deeper_net_computes_the_same_function_in_evaluation_mode(trained: tuple[nn.Module, Tensor]) -> None:
    net, image = trained
    for images in (None, image):
        deeper = deepen(net, 6, images=images)
        assert len(deeper.layer1) == len(net.layer1) + 6
        assert (outputs(deeper, image, False) - outputs(net, image, False)).abs().max() < EXACT


def test_in_training_mode_too_when_scale_and_offset_are_the_statistics(trained: tuple[nn.Module, Tensor]) -> None:
    net, image = trained
    deeper = deepen(net, 6, images=image)
    assert (outputs(deeper, image, True) - outputs(net, image, True)).abs().max() < 1e-10


def test_a_naively_deepened_plain_net_differs_in_training_mode() -> None:
    net = build_model("plain20", width=8, in_channels=1).double()
    image = torch.randn(64, 1, 16, 16, dtype=torch.float64)
    assert (outputs(deepen(net, 6), image, True) - outputs(net, image, True)).abs().max() > 0.1


def test_deepen_leaves_the_net_as_it_was(trained: tuple[nn.Module, Tensor]) -> None:
    net, image = trained
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    mode = net.training
    deeper = deepen(net, 2, images=image)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.training == deeper.training == mode


def test_the_inserted_blocks_learn(trained: tuple[nn.Module, Tensor]) -> None:
    net, image = trained
    deeper = deepen(net, 1, images=image).train()
    nn.functional.cross_entropy(deeper(image), torch.arange(64) % 10).backward()
    new = deeper.layer2[-1]
    assert new.bn2.weight.grad.abs().max() > 0


def test_only_our_nets_are_deepened() -> None:
    with pytest.raises(TypeError, match="Linear"):
        deepen(nn.Linear(2, 2), 1)


def test_another_activation_than_relu_is_refused() -> None:
    with pytest.raises(ValueError, match="ReLU"):
        deepen(build_model("resnet8", width=4, activation="tanh"), 1)
