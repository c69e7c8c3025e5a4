"""Reductions over the edges that arrive at each node, and gathers along edges.

Edges are sorted by receiver (CSR): `Segments` holds where each receiver's edges begin. The
functions work in float64, float32 and bfloat16 (added up in float32), with empty segments (isolated
nodes) and empty edge sets, and are differentiable; the linear ones, and the softmax, twice and
more. Sums run in the order of the edges, so that results are the same from run to run. Indices are
int64: more than 2^31 edges are addressable where memory allows.

`backend` says who computes; `torch_rows` and `triton_rows` say how.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import tiles
from .backend import backend_for, needs_plan
from .plans import Scatter, Segments
from .rows import add_up, extreme_rows, sum_rows, table, take
from .torch_rows import widened


def segment_sum(values: Tensor, segments: Segments) -> Tensor:
    """Sum over each receiver's edges `[m, ...] -> [n, ...]`; 0 where there are none."""
    return collected(values, segments.receiver, segments.size, segments)


def segment_mean(values: Tensor, segments: Segments) -> Tensor:
    """Mean over each receiver's edges `[m, ...] -> [n, ...]`; 0 where there are none."""
    if not tracked(values):
        return _mean(values, segments)
    out: Tensor = _Mean.apply(values, segments)  # type: ignore[no-untyped-call]
    return out


def segment_max(values: Tensor, segments: Segments) -> Tensor:
    """Largest over each receiver's edges `[m, ...] -> [n, ...]`; 0 where there are none.

    The gradient is shared among equal largest values.
    """
    return _extreme(values, segments, True)


def segment_min(values: Tensor, segments: Segments) -> Tensor:
    """Smallest over each receiver's edges `[m, ...] -> [n, ...]`; 0 where there are none."""
    return _extreme(values, segments, False)


def segment_softmax(values: Tensor, segments: Segments) -> Tensor:
    """Softmax over each receiver's edges `[m, ...] -> [m, ...]`, safe against overflow."""
    if not tracked(values):
        return _softmax(values, segments)
    out: Tensor = _Softmax.apply(values, segments)  # type: ignore[no-untyped-call]
    return out


def gather(values: Tensor, index: Tensor, plan: Segments | Scatter | None = None) -> Tensor:
    """Rows of a nodal tensor `[n, ...] -> [m, ...]`; the backward pass adds them up again.

    Args:
        values: `[n, ...]`.
        index: row of each entry `[m]`.
        plan: of the same index (segments whose receivers it is, or a `Scatter`): the backward pass
            is then an ordered sum in place of a scatter.
    """
    return _spread(values, index, plan)


def scatter_add(values: Tensor, plan: Scatter) -> Tensor:
    """Sum at each target `[m, ...] -> [size, ...]`; 0 where nothing goes.

    The entries may be in any order: the plan has the permutation that sorts them.
    """
    return collected(values, plan.index, plan.size, plan)


def collected(values: Tensor, index: Tensor, size: int, plan: Segments | Scatter | None) -> Tensor:
    """Sum at each target `[m, ...] -> [size, ...]`; in order, and faster, with a plan."""
    if not tracked(values):
        return _summed(values, index, size, plan)
    out: Tensor = _Collect.apply(values, index, size, plan)  # type: ignore[no-untyped-call]
    return out


def _spread(values: Tensor, index: Tensor, plan: Segments | Scatter | None) -> Tensor:
    if not tracked(values):
        return take(values, index)
    out: Tensor = _Spread.apply(values, index, plan)  # type: ignore[no-untyped-call]
    return out


def _extreme(values: Tensor, segments: Segments, largest: bool) -> Tensor:
    if torch.compiler.is_compiling():
        out = values.new_zeros(segments.size, *values.shape[1:])
        index = _shaped(segments.receiver, values).expand_as(values)
        how = "amax" if largest else "amin"
        return out.scatter_reduce(0, index, values, how, include_self=False)
    if not tracked(values):
        return extreme_rows(values, segments.rows, largest)
    found: Tensor = _Extreme.apply(values, segments, largest)  # type: ignore[no-untyped-call]
    return found


def _shaped(per_row: Tensor, like: Tensor) -> Tensor:
    return per_row.reshape(-1, *(1 for _ in like.shape[1:]))


def tracked(*values: Tensor | None) -> bool:
    """Whether autograd follows any of these; where not, its nodes need not be made."""
    return torch.is_grad_enabled() and any(v is not None and v.requires_grad for v in values)


def _summed(values: Tensor, index: Tensor, size: int, plan: Segments | Scatter | None) -> Tensor:
    if torch.compiler.is_compiling():
        return add_up(values, index, size)
    if plan is None and needs_plan(values):
        plan = Scatter(index, size)
    return add_up(values, index, size) if plan is None else sum_rows(values, plan.rows)


def _mean(values: Tensor, segments: Segments) -> Tensor:
    total = _summed(values, segments.receiver, segments.size, segments)
    return total.div_(_shaped(segments.divisor(values.dtype), values))


class _Mean(torch.autograd.Function):
    """The sum over the number of edges."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, segments: Segments) -> Tensor:
        ctx.segments = segments
        return _mean(values, segments)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        segments, (grad,) = ctx.segments, grads
        share = grad / _shaped(segments.divisor(grad.dtype), grad)
        return _spread(share, segments.receiver, segments), None


class _Collect(torch.autograd.Function):
    """Sum forward, gather backward; each is the other's derivative, to any order."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, index: Tensor, size: int, plan: Segments | Scatter | None
    ) -> Tensor:
        ctx.index, ctx.plan = index, plan
        return _summed(values, index, size, plan)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _spread(grads[0], ctx.index, ctx.plan), None, None, None


class _Spread(torch.autograd.Function):
    """Gather forward, sum backward."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, plan: Segments | Scatter | None) -> Tensor:
        ctx.index, ctx.size, ctx.plan = index, len(values), plan
        return take(values, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return collected(grads[0], ctx.index, ctx.size, ctx.plan), None, None


class _Extreme(torch.autograd.Function):
    """The gradient goes in equal parts to the entries that attain the extreme."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, segments: Segments, largest: bool) -> Tensor:
        out = extreme_rows(values, segments.rows, largest)
        ctx.save_for_backward(values, out)
        ctx.segments = segments
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        values, out = ctx.saved_tensors
        (grad,) = grads
        if not torch.is_grad_enabled():
            return _extreme_backward(grad, values, out, ctx.segments), None, None
        attained, share = _attained(values, out, ctx.segments)
        return _spread(grad / share, ctx.segments.receiver, ctx.segments) * attained, None, None


def _attained(values: Tensor, out: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
    """Whether each entry attains its segment's extreme, and how many of a segment do."""
    attained = (values.detach() == take(out.detach(), segments.receiver)).to(values.dtype)
    return attained, sum_rows(attained, segments.rows).clamp_(min=1)


def _extreme_backward(grad: Tensor, values: Tensor, out: Tensor, segments: Segments) -> Tensor:
    x, best, g = table(values), table(out), table(grad)
    if backend_for(x) == "triton":
        from . import triton_rows

        found = triton_rows.extreme_rows_backward(x, best, g, segments.rows)
    elif not x.is_cuda:
        found = tiles.extreme_backward(g, x, best, segments)
    else:
        attained, share = _attained(x, best, segments)
        found = take(g / share, segments.receiver) * attained
    return found.reshape(values.shape)


class _Softmax(torch.autograd.Function):
    """p; the gradient is p (g - sum p g)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, segments: Segments) -> Tensor:
        out = _softmax(values, segments)
        ctx.save_for_backward(out)
        ctx.segments = segments
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (p,), segments = ctx.saved_tensors, ctx.segments
        (grad,) = grads
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            mean = segment_sum(p * grad, segments)
            return p * (grad - _spread(mean, segments.receiver, segments)), None
        if backend_for(p) == "triton":
            from . import triton_rows

            found = triton_rows.softmax_rows_backward(table(p), table(grad), segments.rows)
            return found.reshape(p.shape), None
        if not p.is_cuda:
            found = tiles.softmax_backward(table(p), table(grad), segments)
            return found.to(p.dtype).reshape(p.shape), None
        wide, slope = widened(p), widened(grad)
        mean = sum_rows(wide * slope, segments.rows)
        return ((slope - take(mean, segments.receiver)) * wide).to(p.dtype), None


def _softmax(values: Tensor, segments: Segments) -> Tensor:
    if torch.compiler.is_compiling():
        wide = widened(values)
        largest = _extreme(wide, segments, True)
        p = (wide - largest.index_select(0, segments.receiver)).exp()
        total = add_up(p, segments.receiver, segments.size)
        return (p / total.index_select(0, segments.receiver)).to(values.dtype)
    if backend_for(values) == "triton":
        from . import triton_rows

        return triton_rows.softmax_rows(table(values), segments.rows).reshape(values.shape)
    if not values.is_cuda:
        found = tiles.softmax(table(values), segments)
        return found.to(values.dtype).reshape(values.shape)
    wide = widened(values)
    p = (wide - take(extreme_rows(wide, segments.rows, True), segments.receiver)).exp_()
    return (p / take(sum_rows(p, segments.rows), segments.receiver)).to(values.dtype)
