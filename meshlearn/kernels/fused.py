"""The first layer of an edge network and its sum, without arrays of concatenated features.

W [h_i, h_j, e_ij] = W_r h_i + W_s h_j + W_e e_ij: applying the three blocks of a first linear layer
before the gather costs n rows in place of m. `gather_combine` gives that sum an edge;
`gather_combine_reduce` applies f and adds up over each receiver's edges, and keeps nothing of the
size of the edges in between, nor for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import tiles
from .backend import backend_for
from .plans import Scatter, Segments
from .rows import table
from .segment import collected, gather, segment_sum
from .sparse import sparse_dense

ACTIVATIONS = ("identity", "relu", "silu")


def gather_combine(
    receiver_part: Tensor,
    sender_part: Tensor,
    edge_part: Tensor | None,
    senders: Tensor,
    segments: Segments,
) -> Tensor:
    """h_r[i] + h_s[j] + e_ij for every edge `[m, k]`, without concatenating features.

    Where `senders` is `segments.sender`, the backward pass uses their plan.

    Args:
        receiver_part: W_r h `[n, k]`.
        sender_part: W_s h `[n, k]`.
        edge_part: W_e e `[m, k]`, or None.
        senders: sender of each edge `[m]`.
        segments: the edges by receiver.
    """
    if sender_part is receiver_part:  # the compiler takes no tensor twice
        sender_part = sender_part.view_as(sender_part)
    out: Tensor = _GatherCombine.apply(  # type: ignore[no-untyped-call]
        receiver_part, sender_part, edge_part, senders, segments
    )
    return out


def gather_combine_reduce(
    receiver_part: Tensor,
    sender_part: Tensor,
    edge_part: Tensor | None,
    senders: Tensor,
    segments: Segments,
    activation: str = "identity",
) -> Tensor:
    """sum over the edges of i of f(h_r[i] + h_s[j] + e_ij) `[n, k]`; 0 for isolated nodes.

    Args:
        receiver_part: W_r h `[n, k]`.
        sender_part: W_s h `[n, k]`.
        edge_part: W_e e `[m, k]`, or None.
        senders: sender of each edge `[m]`; where it is `segments.sender`, its plan is used.
        segments: the edges by receiver.
        activation: f, "identity", "relu" or "silu".

    Raises:
        ValueError: another activation.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if torch.compiler.is_compiling():
        z = gather_combine(receiver_part, sender_part, edge_part, senders, segments)
        return segment_sum(_activated(z, activation), segments)
    if activation == "identity":
        return _linear(receiver_part, sender_part, edge_part, senders, segments)
    out: Tensor = _Reduced.apply(  # type: ignore[no-untyped-call]
        receiver_part, sender_part, edge_part, senders, segments, activation
    )
    return out


def _linear(
    receiver_part: Tensor,
    sender_part: Tensor,
    edge_part: Tensor | None,
    senders: Tensor,
    segments: Segments,
) -> Tensor:
    """The sum of each part by itself; of the receiver's, its multiple."""
    known = segments if senders is segments.sender else None
    planned = known or Segments(segments.rowptr, segments.receiver, senders)
    out = segments.counts.to(receiver_part.dtype)[:, None] * receiver_part
    out = out + sparse_dense(None, sender_part, planned.sparsity)
    return out if edge_part is None else out + segment_sum(edge_part, segments)


def _activated(z: Tensor, activation: str) -> Tensor:
    if activation == "identity":
        return z
    return torch.relu(z) if activation == "relu" else torch.nn.functional.silu(z)


def _slope(z: Tensor, activation: str) -> Tensor:
    """f'(z); at the kink of relu 0, as in torch."""
    if activation == "relu":
        return (z > 0).to(z.dtype)
    s = torch.sigmoid(z)
    return s * (1 + z * (1 - s))


def _combined(
    receiver: Tensor, sender: Tensor, edge: Tensor | None, senders: Tensor, segments: Segments
) -> Tensor:
    out = receiver.index_select(0, segments.receiver)
    out += sender.index_select(0, senders)
    if edge is not None:
        out += edge
    return out


def _plan(senders: Tensor, segments: Segments) -> Scatter | None:
    if torch.compiler.is_compiling():  # the compiler cannot look into a cached property
        return None
    return segments.outgoing if senders is segments.sender else None


class _GatherCombine(torch.autograd.Function):
    """Three reads and one write forward; two sums backward, no copies of the edge tensor."""

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
        if receiver.dim() == 2 and backend_for(receiver) == "triton":
            from . import triton_rows

            parts = _tables(receiver, sender, edge)
            return triton_rows.combine(*parts, senders, segments.receiver)
        return _combined(receiver, sender, edge, senders, segments)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        to_receiver = segment_sum(grad, ctx.segments)
        to_sender = _to_sender(grad, ctx.senders, ctx.size, ctx.segments)
        return to_receiver, to_sender, grad if ctx.has_edge else None, None, None


def _to_sender(grad: Tensor, senders: Tensor, size: int, segments: Segments) -> Tensor:
    """Sum over the edges that leave each node `[m, ...] -> [size, ...]`, differentiable."""
    return collected(grad, senders, size, _plan(senders, segments))


class _Reduced(torch.autograd.Function):
    """f between gather and sum; z is computed again in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        receiver: Tensor,
        sender: Tensor,
        edge: Tensor | None,
        senders: Tensor,
        segments: Segments,
        activation: str,
    ) -> Tensor:
        ctx.save_for_backward(receiver, sender, edge)
        ctx.senders, ctx.segments, ctx.activation = senders, segments, activation
        parts = _tables(receiver, sender, edge)
        if backend_for(receiver) == "triton":
            from . import triton_rows

            return triton_rows.combine_reduce(*parts, senders, segments, activation)
        if receiver.is_cuda:
            return segment_sum(
                _activated(_combined(*parts, senders, segments), activation), segments
            )
        return tiles.combine_reduce(*parts, senders, segments, activation)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        receiver, sender, edge = ctx.saved_tensors
        senders, segments, activation = ctx.senders, ctx.segments, ctx.activation
        (grad,) = grads
        triton = backend_for(receiver) == "triton"
        # A derivative of the derivative is wanted: f' is followed.
        if torch.is_grad_enabled() or (receiver.is_cuda and not triton):
            z = gather_combine(receiver, sender, edge, senders, segments)
            d = _slope(z, activation) * gather(grad, segments.receiver, segments)
            to_sender = _to_sender(d, senders, len(sender), segments)
            to_edge = None if edge is None else d
            return segment_sum(d, segments), to_sender, to_edge, None, None, None
        parts = _tables(receiver, sender, edge)
        if triton:
            from . import triton_rows

            plan = _plan(senders, segments) or Scatter(senders, len(sender))
            found = triton_rows.combine_reduce_backward(
                table(grad), *parts, senders, segments, plan, activation
            )
        else:
            found = tiles.combine_reduce_backward(
                table(grad), *parts, senders, segments, _plan(senders, segments), activation
            )
        return *found, None, None, None


def _tables(
    receiver: Tensor, sender: Tensor, edge: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    return table(receiver), table(sender), None if edge is None else table(edge)
