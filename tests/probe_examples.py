"""What tests of probes share: a small net away from its initialisation, and the state that a probe has to leave as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from resnet_nb.models import build_model


def lively(name: str, *, seed: int = 0, dtype: torch.dtype = torch.float64, **options: object) -> nn.Module:
    """A net of width 4 for images of one channel, with random scales, offsets and running statistics."""
    net = build_model(name, **{"width": 4, "in_channels": 1, "classes": 4, "seed": seed} | options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=generator))
                module.bias.copy_(0.3 * torch.randn(module.bias.shape, generator=generator))
                module.running_mean.copy_(0.3 * torch.randn(module.running_mean.shape, generator=generator))
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
    return net.to(dtype).eval()


def some_images(count: int = 12, channels: int = 1, side: int = 8, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Images (count, channels, side, side), and labels of four classes."""
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(5), dtype=dtype), torch.arange(count) % 4


@contextmanager
def left_as_it_was(net: nn.Module) -> Iterator[None]:
    """Fails where weights, buffers, gradients, modes, hooks or a module's own attributes differ after the block."""

    def state() -> list:
        return [
            (name, module.training, set(module.__dict__), len(module._forward_hooks), len(module._forward_pre_hooks))
            for name, module in net.named_modules()
        ]

    tensors = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    gradients = [None if parameter.grad is None else parameter.grad.clone() for parameter in net.parameters()]
    before = state()
    yield
    assert state() == before
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in tensors.items())
    now = [parameter.grad for parameter in net.parameters()]
    assert all(one is other or torch.equal(one, other) for one, other in zip(gradients, now, strict=True))
    assert all(parameter.requires_grad for parameter in net.parameters())
