"""Fourier layers: frequencies that are kept, commuting with shifts, the same on finer grids."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from meshlearn.operators import SpectralBlock, SpectralConv


def grid(size: int, dim: int) -> list[Tensor]:
    along = torch.arange(size).double() / size
    return list(torch.meshgrid(*([along] * dim), indexing="ij"))


def field(size: int, dim: int) -> Tensor:
    """Two channels of low frequencies `[1, size, ..., 2]`."""
    x = grid(size, dim)
    first = sum((2 * math.pi * (k + 1) * c).cos() for k, c in enumerate(x[:2]))
    second = (2 * math.pi * (x[0] - x[-1])).sin() + 0.3
    return torch.stack([torch.as_tensor(first), second], dim=-1)[None].float()


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_it_is_the_same_operator_on_a_finer_grid(dim: int) -> None:
    torch.manual_seed(0)
    conv = SpectralConv(2, 3, dim)
    with torch.no_grad():
        coarse, fine = conv(field(6, dim)), conv(field(12, dim))
    every = (slice(None), *([slice(None, None, 2)] * dim))
    assert float(coarse.std()) > 0.1
    assert torch.allclose(coarse, fine[every], atol=1e-4)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_shifts_commute_and_high_frequencies_are_gone(dim: int) -> None:
    torch.manual_seed(1)
    block = SpectralBlock(2, 2, dim)
    values = torch.randn(3, *([5] * dim), 2)
    with torch.no_grad():
        moved = block(values.roll(2, dims=1))
        assert torch.allclose(moved, block(values).roll(2, dims=1), atol=1e-5)
        kept = torch.fft.fftn(block.conv(values).double(), dim=tuple(range(1, dim + 1)))
        assert float(kept.abs().amax(dim=(0, -1)).flatten()[0]) > 0.1
        high = kept[:, 2:4]  # frequencies 2 and -2 along the first axis
    assert float(high.abs().max()) < 1e-4


def test_the_weights_multiply_the_frequencies() -> None:
    conv = SpectralConv(1, 2, 2)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[..., 0] = 1  # all frequencies kept as they are
        x, y = grid(8, 2)
        low = (2 * math.pi * (x + y)).cos() + (2 * math.pi * (x - y)).sin()
        high = (2 * math.pi * 3 * y).cos()
        found = conv((low + high)[None, ..., None].float())
    assert torch.allclose(found[0, ..., 0].double(), low, atol=1e-5)
