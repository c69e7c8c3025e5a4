"""What a residual update does to one tile of rows, forward and backward (see `_tiled`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..kernels import Segments, widened
from ..kernels.memory import new_empty, new_zeros
from ._activations import Activation

_norm_backward = torch.ops.aten.native_layer_norm_backward

_LOST = 2**8
"""Largest output over smallest scale with which y - x gives the input of the norm back: 16 of the
24 bits of float32 are left then, more where the ratio is smaller."""


@dataclass(frozen=True)
class Plan:
    """What is constant in an update.

    Attributes:
        indices: row of each source that each row of x takes `[rows]`, None for its own row.
        segments: the rows of x by receiver, None where no sums are wanted.
        activation: between the layers.
        plain: the same as a layer.
        eps: of the norm.
        tile: rows of a tile.
        keep: whether to keep the first layer for the backward pass; else it is computed again.
    """

    indices: tuple[Tensor | None, ...]
    segments: Segments | None
    activation: Activation
    plain: nn.Module
    eps: float
    tile: int
    keep: bool


@dataclass(frozen=True)
class Source:
    """What is added to the first layer: rows of a product.

    Attributes:
        x: `[n, width]`.
        weight: in the type of the products `[hidden, width]`.
        bias: the same `[hidden]`, or None.
        index: row of each row, None for its own.
        tile: rows of a tile.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    index: Tensor | None
    tile: int

    def rows(self, tile: slice, out: Tensor) -> None:
        """The rows for a tile, into `out [rows, hidden]`."""
        if self.index is None:
            self._multiply(tile, out)
        else:
            torch.index_select(self._products, 0, self.index[tile], out=out)

    @cached_property
    def _products(self) -> Tensor:
        """Of all n rows, each once."""
        out = new_empty(self.weight, len(self.x), len(self.weight))
        for tile in tiles(len(self.x), self.tile):
            self._multiply(tile, out[tile])
        return out

    def _multiply(self, tile: slice, out: Tensor) -> None:
        x, w = self.x[tile].to(self.weight.dtype), self.weight.t()
        if self.bias is None:
            torch.mm(x, w, out=out)
        else:
            torch.addmm(self.bias, x, w, out=out)


@dataclass(frozen=True)
class Layers:
    """The parameters, the weights in the type of the products, the norm at least in float32."""

    w1: Tensor
    w2: Tensor
    b2: Tensor
    scale: Tensor
    shift: Tensor
    sources: tuple[Source, ...]
    plan: Plan

    @classmethod
    def cast(cls, tensors: Sequence[Tensor | None], dtype: torch.dtype, plan: Plan) -> Layers:
        """From (W_1, W_2, b_2, scale, shift) and three tensors (s, W, b) a source."""
        w1, w2, b2, scale, shift = (t for t in tensors[:5] if t is not None)
        triples = zip(plan.indices, tensors[5::3], tensors[6::3], tensors[7::3], strict=True)
        sources = tuple(
            Source(s, w.to(dtype), None if b is None else b.to(dtype), index, plan.tile)
            for index, s, w, b in triples
            if s is not None and w is not None
        )
        scale, shift = widened(scale), widened(shift)
        # Less their means, so that the input of the norm has mean 0.
        w2, b2 = (w2 - w2.mean(dim=0)).to(dtype), (b2 - b2.mean()).to(dtype)
        return cls(w1.to(dtype), w2, b2, scale, shift, sources, plan)

    def hidden(self, x: Tensor, tile: slice, first: Tensor) -> Tensor:
        """Fill `first` with what its activation needs for the backward pass; the hidden layer."""
        for k, source in enumerate(self.sources):
            out = torch.empty_like(first) if k else first
            source.rows(tile, out)
            if k:
                first.add_(out)
        first.addmm_(x.to(self.w1.dtype), self.w1.t())
        return self.plan.activation.apply(first)

    def standardised(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Norm before scale and shift `[rows, width]`, reciprocal deviation `[rows, 1]`."""
        z = torch.addmm(self.b2, hidden, self.w2.t()).to(self.scale.dtype)
        length = torch.linalg.vector_norm(z, dim=1, keepdim=True)
        rstd = length.square_().div_(z.shape[1]).add_(self.plan.eps).rsqrt_()
        return z.mul_(rstd), rstd

    def restored(self, x: Tensor, y: Tensor, first: Tensor) -> Tensor:
        """The same from y = x + norm, where it has enough digits, else from the first layer."""
        if not self._has_digits(y):
            return self.standardised(self.plan.activation.restore(first))[0]
        inverse, offset = self._inverse
        difference = torch.sub(y, x)
        return torch.addcmul(offset, difference, inverse, out=difference)

    def backward_of_norm(self, grad: Tensor, z: Tensor, rstd: Tensor, sums: Sums) -> Tensor:
        """Gradient of the input of the norm, for a tile `[rows, width]`.

        Args:
            grad: that of its output.
            z: the norm before scale and shift.
            rstd: reciprocal deviation.
            sums: are added to.
        """
        grad_z: Tensor
        shape, mean, one = [len(self.scale)], torch.zeros_like(rstd), torch.ones_like(rstd)
        grad_z, scale, shift = _norm_backward(
            grad, z, shape, mean, one, self.scale, self.shift, [True, True, True]
        )
        sums.scale.add_(scale)
        sums.shift.add_(shift)
        return grad_z.mul_(rstd)

    def _has_digits(self, y: Tensor) -> bool:
        """Whether y - x has enough digits."""
        if y.dtype != self.scale.dtype:
            return False
        low, high = torch.aminmax(y)
        return max(float(high), -float(low)) <= self._largest

    @cached_property
    def _largest(self) -> float:
        return _LOST * float(self.scale.abs().min())

    @cached_property
    def _inverse(self) -> tuple[Tensor, Tensor]:
        """Factor and offset that undo scale and shift."""
        inverse = self.scale.reciprocal()
        return inverse, -self.shift * inverse

    def backward(
        self, grad: Tensor, grad_z: Tensor, x: Tensor, first: Tensor, sums: Sums, out: Tensor
    ) -> Tensor:
        """Gradient of the first layer, for a tile; `out` takes that of `x [rows, width]`.

        Args:
            grad: that of y.
            grad_z: that of the input of the norm.
            x: the rows.
            first: their first layer; may be the memory of `out`.
            sums: are added to.
            out: see above.
        """
        activation = self.plan.activation
        sums.b2.add_(grad_z.sum(dim=0))
        narrow = grad_z.to(self.w2.dtype)
        add_product(sums.w2, narrow.t(), activation.restore(first))
        grad_first = activation.backward(torch.mm(narrow, self.w2), first)
        add_product(sums.w1, grad_first.t(), x.to(self.w1.dtype))
        if grad.dtype == self.w1.dtype == out.dtype:
            torch.addmm(grad, grad_first, self.w1, out=out)
        else:
            torch.add(grad, torch.mm(grad_first, self.w1).to(grad.dtype), out=out)
        return grad_first


@dataclass(frozen=True)
class Kept:
    """What the backward pass needs of all rows.

    Attributes:
        first: the first layer, or its activation `[rows, hidden]`.
        rstd: reciprocal deviation of the norm `[rows, 1]`.
        memory: that of `first`, if it is large enough for a tensor like x; else None.
    """

    first: Tensor
    rstd: Tensor
    memory: Tensor | None

    @classmethod
    def empty(cls, x: Tensor, layers: Layers) -> Kept:
        """Room for them."""
        dtype, hidden = layers.w2.dtype, layers.w2.shape[1]
        rstd = layers.scale.new_empty(len(x), 1)
        if hidden * dtype.itemsize > x.shape[1] * x.dtype.itemsize:
            return cls(new_empty(x, len(x), hidden, dtype=dtype), rstd, None)
        memory = new_empty(x, *x.shape)
        return cls(memory.view(dtype)[:, :hidden], rstd, memory)

    def room(self, x: Tensor) -> Tensor:
        """For the gradient of x, a tile of which may be written once that of `first` is read."""
        return new_empty(x, *x.shape) if self.memory is None else self.memory


@dataclass(frozen=True)
class Sums:
    """Gradients of the parameters of `Layers`, in the type of its norm."""

    w1: Tensor
    w2: Tensor
    b2: Tensor
    scale: Tensor
    shift: Tensor

    @classmethod
    def zeros(cls, layers: Layers) -> Sums:
        """To be added to."""
        parameters = (layers.w1, layers.w2, layers.b2, layers.scale, layers.shift)
        return cls(*(layers.scale.new_zeros(p.shape) for p in parameters))


class SourceSums:
    """Gradients of a source: of its rows, its weight and its bias."""

    def __init__(self, source: Source, wide: torch.dtype) -> None:
        self.source, (n, width), hidden = source, source.x.shape, len(source.weight)
        self._rows = None
        if source.index is not None:
            self._rows = new_zeros(source.x, n, hidden, dtype=wide)
        in_place = self._rows is not None and (hidden, wide) == (width, source.x.dtype)
        self.x = (
            self._rows if self._rows is not None and in_place else new_empty(source.x, n, width)
        )
        self.weight = source.weight.new_zeros(source.weight.shape, dtype=wide)
        self.bias = None if source.bias is None else source.bias.new_zeros(hidden, dtype=wide)

    def add(self, tile: slice, grad: Tensor) -> None:
        """Add the gradient of the first layer of a tile `[rows, hidden]`."""
        if self._rows is None or self.source.index is None:
            self._through(tile, grad)
        else:
            self._rows.index_add_(0, self.source.index[tile], grad.to(self._rows.dtype))

    def finish(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Once all tiles are added: gradients of (s, W, b)."""
        if self._rows is not None:
            for tile in tiles(len(self._rows), self.source.tile):
                self._through(tile, self._rows[tile])
        return self.x, self.weight, self.bias

    def _through(self, tile: slice, grad: Tensor) -> None:
        """Through the product, for the source's own rows."""
        source, narrow = self.source, grad.to(self.source.weight.dtype)
        if self.bias is not None:
            self.bias.add_(grad.sum(dim=0, dtype=self.bias.dtype))
        add_product(self.weight, narrow.t(), source.x[tile].to(narrow.dtype))
        self.x[tile] = torch.mm(narrow, source.weight)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left right; a narrow product is added up in the digits of the total."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(torch.mm(left, right))


def tiles(rows: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` rows."""
    return (slice(first, min(first + size, rows)) for first in range(0, rows, size))
