"""The residual update of a `MeshBlock`, with a backward pass of its own that stays in the cache.

    first = W_1 x + sum_k part_k[index_k],   y = x + norm(W_2 act(first) + b_2),   t_i = sum_j y_ij

The rows of x go through all of it in *tiles* of some thousand: what lies between the matrix
products stays in the cache, the only large tensor made is y, and the gradients of the weights are
added up in place. The input of the norm, if it was kept, becomes the gradient of x in place.

Under autocast the products take bfloat16; norm, residual and sums stay in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..kernels import Segments, gather, segment_sum
from ._activations import Activation

_norm_backward = torch.ops.aten.native_layer_norm_backward


@dataclass(frozen=True)
class Plan:
    """What is constant in an update.

    Attributes:
        indices: row of each part that each row of x takes `[rows]`, None for its own row.
        segments: the rows of x by receiver, None where no sums are wanted.
        activation: between the layers.
        plain: the same as a layer.
        eps: of the norm.
        tile: rows of a tile.
        keep: whether to keep the input of the norm for the backward pass, where it makes room for
            the gradient of x; and the hidden layer, too, up to `_HIDDEN` bytes of it. What is not
            kept is computed again.
        workspace: memory of the hidden layer, if it is kept.
    """

    indices: tuple[Tensor | None, ...]
    segments: Segments | None
    activation: Activation
    plain: nn.Module
    eps: float
    tile: int
    keep: bool
    workspace: Workspace


_HIDDEN = 2**27
"""Bytes of a hidden layer that is kept: writing and reading a larger one takes as long as computing
it again in the cache."""


@dataclass(frozen=True)
class Rows:
    """First layer, input of the norm, and its mean and reciprocal deviation, for some rows.

    The first layer of one tile only, where it is not kept.
    """

    first: Tensor
    z: Tensor
    mean: Tensor
    rstd: Tensor

    @classmethod
    def empty(cls, rows: int, layers: Layers) -> Rows:
        """Room for them; for the hidden layer of all rows, that of the workspace."""
        (width, hidden), dtype, plan = layers.w2.shape, layers.w2.dtype, layers.plan
        if plan.keep and rows * hidden * dtype.itemsize <= _HIDDEN:
            first = plan.workspace.take(rows, hidden, dtype=dtype)
        else:
            first = torch.empty(min(rows, plan.tile), hidden, dtype=dtype)
        return cls(
            first,
            torch.empty(rows, width, dtype=dtype),
            *(layers.scale.new_empty(rows, 1) for _ in range(2)),
        )

    @property
    def whole(self) -> bool:
        """Whether the hidden layer of all rows is there."""
        return len(self.first) == len(self.z)

    def __getitem__(self, tile: slice) -> Rows:
        first = self.first[tile] if self.whole else self.first[: tile.stop - tile.start]
        return Rows(first, self.z[tile], self.mean[tile], self.rstd[tile])


@dataclass(frozen=True)
class Layers:
    """The parameters, the weights in the type of the products, the norm in its own."""

    w1: Tensor
    w2: Tensor
    b2: Tensor
    scale: Tensor
    shift: Tensor
    plan: Plan

    @classmethod
    def cast(cls, parameters: tuple[Tensor, ...], dtype: torch.dtype, plan: Plan) -> Layers:
        """From (W_1, W_2, b_2, scale, shift)."""
        w1, w2, b2, scale, shift = parameters
        return cls(w1.to(dtype), w2.to(dtype), b2.to(dtype), scale, shift, plan)

    def forward(self, x: Tensor, parts: tuple[Tensor, ...], tile: slice, rows: Rows) -> Tensor:
        """Fill `rows` for a tile of `x`; the normalised update `[rows, width]`."""
        hidden = self.hidden(x, parts, tile, rows.first)
        torch.addmm(self.b2, hidden, self.w2.t(), out=rows.z)
        wide = rows.z.to(self.scale.dtype)
        shape, eps = [len(self.scale)], self.plan.eps
        normal, mean, rstd = torch.native_layer_norm(wide, shape, self.scale, self.shift, eps)
        rows.mean.copy_(mean)
        rows.rstd.copy_(rstd)
        return normal

    def hidden(self, x: Tensor, parts: tuple[Tensor, ...], tile: slice, first: Tensor) -> Tensor:
        """Fill `first` with what its activation needs for the backward pass; the hidden layer."""
        narrow = x[tile].to(self.w1.dtype)
        for k, (part, index) in enumerate(zip(parts, self.plan.indices, strict=True)):
            out = torch.empty_like(first) if k else first
            if index is None:
                out.copy_(part[tile])
            else:
                torch.index_select(part, 0, index[tile], out=out)
            if k:
                first.add_(out)
        first.addmm_(narrow, self.w1.t())
        return self.plan.activation.apply(first)

    def backward(self, grad: Tensor, x: Tensor, rows: Rows, sums: Sums, out: Tensor) -> Tensor:
        """Gradient of the first layer, for a tile; `out` takes that of `x [rows, width]`."""
        wide, shape = rows.z.to(self.scale.dtype), [len(self.scale)]
        grad_z, scale, shift = _norm_backward(
            grad, wide, shape, rows.mean, rows.rstd, self.scale, self.shift, [True, True, True]
        )
        sums.scale.add_(scale)
        sums.shift.add_(shift)
        sums.b2.add_(grad_z.sum(dim=0))
        narrow = grad_z.to(self.w2.dtype)
        _add_product(sums.w2, narrow.t(), self.plan.activation.restore(rows.first))
        grad_first = self.plan.activation.backward(torch.mm(narrow, self.w2), rows.first)
        _add_product(sums.w1, grad_first.t(), x.to(self.w1.dtype))
        if grad.dtype == self.w1.dtype:
            torch.addmm(grad, grad_first, self.w1, out=out)
        else:
            torch.add(grad, torch.mm(grad_first, self.w1), out=out)
        return grad_first


@dataclass(frozen=True)
class Sums:
    """Gradients of the parameters of `Layers`, in the type of the norm."""

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


class Workspace:
    """The hidden layer of the last backward pass, for the next forward pass to use again.

    New memory is as slow as half the arithmetic: the system clears its pages, at 2 to 4 GB/s.
    """

    def __init__(self) -> None:
        self._free: Tensor | None = None

    def take(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """Uninitialised `[rows, columns]`; new memory where there is none that fits."""
        found, self._free = self._free, None
        if found is None or found.dtype != dtype or not rows <= len(found) <= 2 * rows:
            return torch.empty(rows, columns, dtype=dtype)
        return found[:rows]

    def give(self, tensor: Tensor) -> None:
        """Leave memory that nobody uses any more."""
        whole = tensor if tensor._base is None else tensor._base
        self._free = whole.detach()

    def __reduce__(self) -> tuple[type[Workspace], tuple[()]]:
        return Workspace, ()  # a copy of a block, or a block in a file, starts with none


class TiledUpdate(torch.autograd.Function):
    """`apply(plan, x, W_1, W_2, b_2, scale, shift, *parts)` gives y and t (None without segments).

    Where the derivative of the gradient is wanted, the backward pass runs the plain layers.
    """

    @staticmethod
    def forward(ctx: Any, plan: Plan, x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor | None]:
        kind = x.device.type
        autocast = torch.is_autocast_enabled(kind)
        ctx.plan = plan
        ctx.set_materialize_grads(False)  # a result that is not used costs nothing
        ctx.dtype = torch.get_autocast_dtype(kind) if autocast else x.dtype
        ctx.save_for_backward(x, *tensors)
        with torch.autocast(kind, enabled=False):
            layers = Layers.cast(tensors[:5], ctx.dtype, plan)
            parts, wide = tensors[5:], layers.scale.dtype
            y, total = torch.empty_like(x), None
            if plan.segments is not None:
                total = x.new_zeros(plan.segments.size, x.shape[1], dtype=wide)
            ctx.saved = Rows.empty(len(x), layers) if plan.keep else None
            work = None if plan.keep else Rows.empty(plan.tile, layers)
            for tile in _tiles(len(x), plan.tile):
                rows = _rows(ctx.saved, work, tile)
                torch.add(x[tile], layers.forward(x, parts, tile, rows), out=y[tile])
                if total is not None and plan.segments is not None:
                    total.index_add_(0, plan.segments.receiver[tile], y[tile].to(wide))
        return y, total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        x, *tensors = ctx.saved_tensors
        plan, (grad_y, grad_total) = ctx.plan, grads
        if grad_y is None and grad_total is None:
            return (None,) * (2 + len(tensors))
        if torch.is_grad_enabled():
            return None, *_plain_backward(plan, [x, *tensors], grads)
        saved, ctx.saved = ctx.saved, None  # overwritten below: a second time computes it again
        with torch.autocast(x.device.type, enabled=False):
            layers = Layers.cast(tuple(tensors[:5]), ctx.dtype, plan)
            parts, wide = tuple(tensors[5:]), layers.scale.dtype
            sums, to_parts = Sums.zeros(layers), [torch.zeros_like(p, dtype=wide) for p in parts]
            in_place = saved is not None and saved.z.dtype == x.dtype
            grad_x = saved.z if in_place else torch.empty_like(x)
            work = None if saved is not None else Rows.empty(plan.tile, layers)
            for tile in _tiles(len(x), plan.tile):
                rows = _rows(saved, work, tile)
                if saved is None:
                    layers.forward(x, parts, tile, rows)
                elif not saved.whole:
                    layers.hidden(x, parts, tile, rows.first)
                grad = _arriving(plan, grad_y, grad_total, tile, wide)
                inner = layers.backward(grad, x[tile], rows, sums, grad_x[tile]).to(wide)
                for index, to_part in zip(plan.indices, to_parts, strict=True):
                    if index is None:
                        to_part[tile] = inner
                    else:
                        to_part.index_add_(0, index[tile], inner)
            if saved is not None and saved.whole:
                plan.workspace.give(saved.first)
        found = [sums.w1, sums.w2, sums.b2, sums.scale, sums.shift, *to_parts]
        return None, grad_x, *(g.to(t.dtype) for g, t in zip(found, tensors, strict=True))


def plain_update(
    plan: Plan, x: Tensor, w1: Tensor, *others: Tensor
) -> tuple[Tensor, Tensor | None]:
    """`TiledUpdate` in plain operations: for other devices, compilers, second derivatives."""
    w2, b2, scale, shift, *parts = others
    first = nn.functional.linear(x, w1)
    for part, index in zip(parts, plan.indices, strict=True):
        first = first + (part if index is None else gather(part, index))
    z = nn.functional.linear(plan.plain(first), w2, b2)
    with torch.autocast(x.device.type, enabled=False):
        wide = z.to(scale.dtype)
        y = x + nn.functional.layer_norm(wide, [len(scale)], scale, shift, plan.eps).to(x.dtype)
    return y, None if plan.segments is None else segment_sum(y, plan.segments)


def _plain_backward(plan: Plan, inputs: list[Tensor], grads: tuple[Tensor | None, ...]) -> Any:
    """Gradients with a graph of their own."""
    found = plain_update(plan, *inputs)
    pairs = [(f, g) for f, g in zip(found, grads, strict=True) if f is not None and g is not None]
    outputs, given = zip(*pairs, strict=True)
    wanted = [t for t in inputs if t.requires_grad]
    result = iter(torch.autograd.grad(outputs, wanted, given, create_graph=True))
    return [next(result) if t.requires_grad else None for t in inputs]


def _arriving(
    plan: Plan, to_y: Tensor | None, to_total: Tensor | None, tile: slice, dtype: torch.dtype
) -> Tensor:
    """Gradient of a tile of y: its own and that of the sum it is part of."""
    if plan.segments is None or to_total is None:
        assert to_y is not None
        return to_y[tile].to(dtype)
    grad = to_total.index_select(0, plan.segments.receiver[tile]).to(dtype)
    return grad if to_y is None else grad.add_(to_y[tile])


def _rows(saved: Rows | None, work: Rows | None, tile: slice) -> Rows:
    """Where a tile's rows are: in what is kept, or at the start of the room for one tile."""
    if saved is not None:
        return saved[tile]
    assert work is not None
    return work[: tile.stop - tile.start]


def _tiles(rows: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, rows)) for first in range(0, rows, size))


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left right; a narrow product is added up in the digits of the total."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(torch.mm(left, right))
