"""The residual update of a `MeshBlock`, with a backward pass of its own that stays in the cache.

    first = W_1 x + sum_k (W_k s_k + b_k)[index_k]
    y = x + norm(W_2 act(first) + b_2),   t_i = sum_j y_ij

The rows of x go through all of it in *tiles* of some thousand: what lies between the matrix
products stays in the cache, and the gradients of the weights are added up in place. Two tensors of
the size of x are made: y, and what the activation needs for the backward pass, where the gradient
of x takes its place. The input of the norm is not kept, since its output is y - x.

Under autocast the products take bfloat16; norm, residual and sums stay in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..kernels import gather, segment_sum
from ..kernels.memory import new_empty, new_zeros
from ._tile import Kept, Layers, Plan, SourceSums, Sums, tiles


class TiledUpdate(torch.autograd.Function):
    """`apply(plan, x, W_1, W_2, b_2, scale, shift, *sources)` gives y and t.

    Each source is three tensors: s `[n, width]`, W, and b or None; t is None without segments.
    Where the derivative of the gradient is wanted, the backward pass runs the plain layers.
    """

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, x: Tensor, *tensors: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        kind = x.device.type
        autocast = torch.is_autocast_enabled(kind)
        ctx.plan = plan
        ctx.set_materialize_grads(False)  # a result that is not used costs nothing
        ctx.dtype = torch.get_autocast_dtype(kind) if autocast else x.dtype
        with torch.autocast(kind, enabled=False):
            layers = Layers.cast(tensors, ctx.dtype, plan)
            (width, hidden), wide = layers.w2.shape, layers.scale.dtype
            kept = Kept.empty(x, layers) if plan.keep else None
            work = layers.w2.new_empty(0 if plan.keep else plan.tile, hidden)
            y, total = new_empty(x, *x.shape), None
            if plan.segments is not None:
                total = new_zeros(x, plan.segments.size, width, dtype=wide)
            for tile in tiles(len(x), plan.tile):
                rows = x[tile].clone()  # read once from memory, then from the cache
                first = work[: len(rows)] if kept is None else kept.first[tile]
                z, rstd = layers.standardised(layers.hidden(rows, tile, first))
                torch.addcmul(rows, z, layers.scale, out=y[tile]).add_(layers.shift)
                if kept is not None:
                    kept.rstd[tile] = rstd
                if total is not None and plan.segments is not None:
                    total.index_add_(0, plan.segments.receiver[tile], y[tile].to(wide))
        ctx.kept = kept
        ctx.save_for_backward(x, y if plan.keep else None, *tensors)
        return y, None if total is None else total.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        x, y, *tensors = ctx.saved_tensors
        plan, (grad_y, grad_total) = ctx.plan, grads
        if grad_y is None and grad_total is None:
            return (None,) * (2 + len(tensors))
        if torch.is_grad_enabled():
            return None, *_plain_backward(plan, x, tensors, grads)
        kept, ctx.kept = ctx.kept, None  # overwritten below: a second time computes it again
        with torch.autocast(x.device.type, enabled=False):
            layers = Layers.cast(tensors, ctx.dtype, plan)
            wide, sums = layers.scale.dtype, Sums.zeros(layers)
            to_sources = [SourceSums(source, wide) for source in layers.sources]
            work = layers.w2.new_empty(plan.tile if kept is None else 0, layers.w2.shape[1])
            grad_x = new_empty(x, *x.shape) if kept is None else kept.room(x)
            for tile in tiles(len(x), plan.tile):
                grad = _arriving(plan, grad_y, grad_total, tile, wide)
                rows = x[tile].clone()
                if kept is None:
                    first = work[: len(rows)]
                    z, rstd = layers.standardised(layers.hidden(rows, tile, first))
                else:
                    first, rstd = kept.first[tile], kept.rstd[tile]
                    z = layers.restored(rows, y[tile], first)
                grad_z = layers.backward_of_norm(grad, z, rstd, sums)
                inner = layers.backward(grad, grad_z, rows, first, sums, grad_x[tile])
                for to_source in to_sources:
                    to_source.add(tile, inner)
            found: list[Tensor | None] = [sums.w1, sums.w2, sums.b2, sums.scale, sums.shift]
            found += [g for to_source in to_sources for g in to_source.finish()]
        pairs = zip(found, tensors, strict=True)
        return None, grad_x, *(None if g is None else g.to(t.dtype) for g, t in pairs)


def plain_update(plan: Plan, x: Tensor, *tensors: Any) -> tuple[Tensor, Tensor | None]:
    """`TiledUpdate` in plain operations: for other devices, compilers, second derivatives."""
    w1, w2, b2, scale, shift, *sources = tensors
    first = nn.functional.linear(x, w1)
    triples = zip(plan.indices, sources[::3], sources[1::3], sources[2::3], strict=True)
    for index, s, w, b in triples:
        part = nn.functional.linear(s, w, b)
        first = first + (part if index is None else gather(part, index))
    z = nn.functional.linear(plan.plain(first), w2, b2)
    with torch.autocast(x.device.type, enabled=False):
        wide = z.to(scale.dtype)
        y = x + nn.functional.layer_norm(wide, [len(scale)], scale, shift, plan.eps).to(x.dtype)
    return y, None if plan.segments is None else segment_sum(y, plan.segments)


def _plain_backward(
    plan: Plan, x: Tensor, tensors: list[Any], grads: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """Gradients with a graph of their own."""
    found, inputs = plain_update(plan, x, *tensors), [x, *tensors]
    pairs = [(f, g) for f, g in zip(found, grads, strict=True) if f is not None and g is not None]
    outputs, given = zip(*pairs, strict=True)
    wanted = [t for t in inputs if t is not None and t.requires_grad]
    result = iter(torch.autograd.grad(outputs, wanted, given, create_graph=True))
    return [next(result) if t is not None and t.requires_grad else None for t in inputs]


def _arriving(
    plan: Plan, to_y: Tensor | None, to_total: Tensor | None, tile: slice, dtype: torch.dtype
) -> Tensor:
    """Gradient of a tile of y: its own and that of the sum it is part of."""
    if plan.segments is None or to_total is None:
        assert to_y is not None
        return to_y[tile].to(dtype)
    grad = to_total.index_select(0, plan.segments.receiver[tile]).to(dtype)
    return grad if to_y is None else grad.add_(to_y[tile])
