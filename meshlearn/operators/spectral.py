r"""The layer of Fourier neural operators, on a regular grid in 1D, 2D or 3D.

    v' = v + sigma( W v + F^-1( R(k) (F v)(k) for |k| < modes, else 0 ) )

Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021. The
grid is periodic to the transform: leave a margin around what is not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpectralConv(nn.Module):
    """Product with a matrix for each low frequency.

    Args:
        width: channels.
        modes: frequencies along each axis, from 0 to modes - 1 in absolute value.
        dim: number of axes.
    """

    def __init__(self, width: int, modes: int, dim: int) -> None:
        super().__init__()
        self.modes, self.dim = modes, dim
        kept = (*([2 * modes - 1] * (dim - 1)), modes)
        # real and imaginary part side by side: optimisers, clipping and files see real numbers
        self.weight = nn.Parameter(torch.randn(*kept, width, width, 2) / width)

    def forward(self, values: Tensor) -> Tensor:
        """`[b, size, ..., size, width]`, size > 2 (modes - 1), to the same shape."""
        axes = tuple(range(1, 1 + self.dim))
        sizes = values.shape[1:-1]
        whole = torch.fft.rfftn(values.float(), dim=axes)
        low = whole
        for axis in axes[:-1]:
            low = low.index_select(axis, self._frequencies(low.shape[axis], low.device))
        low = low.narrow(axes[-1], 0, self.modes)
        product = torch.einsum("b...i,...io->b...o", low, torch.view_as_complex(self.weight))
        for axis in axes[:-1]:
            shape = list(product.shape)
            shape[axis] = whole.shape[axis]
            index = self._frequencies(shape[axis], product.device)
            product = product.new_zeros(shape).index_copy(axis, index, product)
        return torch.fft.irfftn(_padded(product, axes[-1], whole), s=sizes, dim=axes).to(values)

    def _frequencies(self, size: int, device: torch.device) -> Tensor:
        """Places of the frequencies 0 ... modes - 1 and 1 - modes ... -1."""
        low = torch.arange(2 * self.modes - 1, device=device)
        return torch.where(low < self.modes, low, low + size - 2 * self.modes + 1)


class SpectralBlock(nn.Module):
    """One residual layer; arguments as `SpectralConv`."""

    def __init__(self, width: int, modes: int, dim: int) -> None:
        super().__init__()
        self.own, self.conv = nn.Linear(width, width), SpectralConv(width, modes, dim)

    def forward(self, values: Tensor) -> Tensor:
        """`[b, size, ..., size, width]` to the same shape."""
        return values + nn.functional.gelu(self.own(values) + self.conv(values))


def _padded(product: Tensor, axis: int, whole: Tensor) -> Tensor:
    """Zeros for the high frequencies along the last axis."""
    shape = list(product.shape)
    shape[axis] = whole.shape[axis] - product.shape[axis]
    return torch.cat([product, product.new_zeros(shape)], dim=axis)
