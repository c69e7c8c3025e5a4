"""Reductions over the edges that arrive at each node, and gathers along edges.

Edges are sorted by receiver (CSR): `Segments` holds where each receiver's edges begin. The
functions work in float64, float32 and bfloat16, with empty segments (isolated nodes) and empty edge
sets, and are differentiable; the linear ones twice. Sums run in the order of the edges, so that
results are the same from run to run. Indices are int64: more than 2^31 edges are addressable where
memory allows.

On the CPU a sum is `index_add` (measured faster than CSR segment reduction there); on the GPU it is
`torch.segment_reduce`, which needs no atomics and is deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Segments:
    """Edges grouped by receiver.

    Attributes:
        rowptr: where each receiver's edges begin `[n + 1]`, int64.
        receiver: receiver of each edge `[m]`, ascending.
    """

    rowptr: Tensor
    receiver: Tensor

    @classmethod
    def from_rowptr(cls, rowptr: Tensor) -> Segments:
        """Receivers from where their edges begin."""
        count = rowptr.diff()
        nodes = torch.arange(len(count), device=rowptr.device)
        return cls(rowptr, torch.repeat_interleave(nodes, count))

    @property
    def size(self) -> int:
        """Number of receivers."""
        return len(self.rowptr) - 1

    @cached_property
    def counts(self) -> Tensor:
        """Edges of each receiver `[n]`."""
        return self.rowptr.diff()


def segment_sum(values: Tensor, segments: Segments) -> Tensor:
    """Sum over each receiver's edges `[m, ...] -> [n, ...]`; 0 where there are none."""
    out: Tensor = _SegmentSum.apply(values, segments)  # type: ignore[no-untyped-call]
    return out


def segment_mean(values: Tensor, segments: Segments) -> Tensor:
    """Mean over each receiver's edges `[m, ...] -> [n, ...]`; 0 where there are none."""
    count = segments.counts.clamp(min=1).to(values.dtype)
    return segment_sum(values, segments) / _shaped(count, values)


def segment_max(values: Tensor, segments: Segments) -> Tensor:
    """Largest over each receiver's edges `[m, ...] -> [n, ...]`; 0 where there are none.

    The gradient is shared among equal largest values.
    """
    return _extreme(values, segments, "amax")


def segment_min(values: Tensor, segments: Segments) -> Tensor:
    """Smallest over each receiver's edges `[m, ...] -> [n, ...]`; 0 where there are none."""
    return _extreme(values, segments, "amin")


def segment_softmax(values: Tensor, segments: Segments) -> Tensor:
    """Softmax over each receiver's edges `[m, ...] -> [m, ...]`, safe against overflow."""
    largest = segment_max(values.detach(), segments)
    shifted = (values - gather(largest, segments.receiver)).exp()
    return shifted / gather(segment_sum(shifted, segments), segments.receiver)


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Rows of a nodal tensor `[n, ...] -> [m, ...]`; the backward pass adds them up again."""
    return values.index_select(0, index)


def gather_combine(
    receiver_part: Tensor,
    sender_part: Tensor,
    edge_part: Tensor | None,
    senders: Tensor,
    segments: Segments,
) -> Tensor:
    """h_r[i] + h_s[j] + e_ij for every edge `[m, k]`, without concatenating features.

    W [h_i, h_j, e_ij] = W_r h_i + W_s h_j + W_e e_ij: applying the three blocks of a first linear
    layer before the gather costs n rows in place of m.

    Args:
        receiver_part: W_r h `[n, k]`.
        sender_part: W_s h `[n, k]`.
        edge_part: W_e e `[m, k]`, or None.
        senders: sender of each edge `[m]`.
        segments: the edges by receiver.
    """
    out: Tensor = _GatherCombine.apply(  # type: ignore[no-untyped-call]
        receiver_part, sender_part, edge_part, senders, segments
    )
    return out


def _shaped(per_row: Tensor, like: Tensor) -> Tensor:
    return per_row.reshape(-1, *(1 for _ in like.shape[1:]))


def _sum(values: Tensor, segments: Segments) -> Tensor:
    if values.is_cuda and values.dtype != torch.bfloat16:
        flat = values.reshape(len(values), -1)
        total = torch.segment_reduce(flat, "sum", offsets=segments.rowptr, initial=0)
        return total.reshape(segments.size, *values.shape[1:])
    # bfloat16 sums of many edges lose all digits: add up in float32.
    wide = values.float() if values.dtype == torch.bfloat16 else values
    total = wide.new_zeros(segments.size, *values.shape[1:])
    return total.index_add_(0, segments.receiver, wide).to(values.dtype)


def _extreme(values: Tensor, segments: Segments, how: str) -> Tensor:
    out = values.new_zeros(segments.size, *values.shape[1:])
    index = _shaped(segments.receiver, values).expand_as(values)
    return out.scatter_reduce(0, index, values, how, include_self=False)


class _SegmentSum(torch.autograd.Function):
    """Sum forward, gather backward; each is the other's derivative, so it can be taken twice."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, segments: Segments) -> Tensor:
        ctx.segments = segments
        return _sum(values, segments)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return gather(grads[0], ctx.segments.receiver), None


class _GatherCombine(torch.autograd.Function):
    """Three reads and one write forward; two scatters backward, no copies of the edge tensor."""

    @staticmethod
    def forward(
        ctx: Any,
        receiver: Tensor,
        sender: Tensor,
        edge: Tensor | None,
        senders: Tensor,
        segments: Segments,
    ) -> Tensor:
        ctx.senders, ctx.segments, ctx.size = senders, segments, len(sender)
        ctx.has_edge = edge is not None
        out = receiver.index_select(0, segments.receiver)
        out += sender.index_select(0, senders)
        if edge is not None:
            out += edge
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        to_receiver = segment_sum(grad, ctx.segments)
        wide = grad.float() if grad.dtype == torch.bfloat16 else grad
        to_sender = wide.new_zeros(ctx.size, *grad.shape[1:]).index_add(0, ctx.senders, wide)
        return to_receiver, to_sender.to(grad.dtype), grad if ctx.has_edge else None, None, None
