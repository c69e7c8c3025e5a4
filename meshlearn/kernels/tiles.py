"""Kernels of several passes on the CPU, tile by tile of receivers.

The edges of a tile stay in the cache between the passes, and the only new memory of the size of the
edges is a result: writing to new pages costs several times the arithmetic. Vectors (width 1) are
kept as vectors, which torch gathers and adds up several times faster than columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .plans import Rows, Scatter, Segments
from .torch_rows import add_at, extreme_rows, sum_rows, widened

_TILE = 1 << 18
"""Numbers of a tile (1 MB in float32)."""
_EXACT = 1 << 24
"""Ones that float32 can count."""


def combine_reduce(
    receiver: Tensor,
    sender: Tensor,
    edge: Tensor | None,
    senders: Tensor,
    segments: Segments,
    activation: str,
) -> Tensor:
    """sum over the edges of i of f(r_i + s_j + e_ij) `[n, w]`."""
    out = torch.empty_like(receiver)
    r, s, total = _flat(receiver), _flat(sender), _flat(out)
    e = None if edge is None else _flat(edge)
    work = _work(segments, r)
    for low, high, begin, end in _tiles(segments, r):
        to = segments.receiver[begin:end]
        z = _combined(r, s, e, to, senders, begin, end, work)
        z = torch.relu_(z) if activation == "relu" else torch.nn.functional.silu(z, inplace=True)
        total[low:high] = _sum(z, segments, low, high, begin, end)
    return out


def combine_reduce_backward(
    grad: Tensor,
    receiver: Tensor,
    sender: Tensor,
    edge: Tensor | None,
    senders: Tensor,
    segments: Segments,
    outgoing: Scatter | None,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients to r, s and e; z is computed again."""
    to_receiver = torch.empty_like(receiver)
    to_edge = None if edge is None else torch.empty_like(edge)
    r, s, g, of_receiver = (_flat(x) for x in (receiver, sender, grad, to_receiver))
    e, of_edge = (None if x is None else _flat(x) for x in (edge, to_edge))
    # Summed in order at the end where the terms are kept anyway, else tile by tile.
    at_end = outgoing is not None and of_edge is not None and of_edge.dtype == widened(s).dtype
    to_sender = None if at_end else torch.zeros_like(widened(s))
    work = _work(segments, r)
    for low, high, begin, end in _tiles(segments, r):
        to = segments.receiver[begin:end]
        z = _combined(r, s, e, to, senders, begin, end, work)
        slope = _taken(g, to, work[1])
        kept = of_edge is not None and of_edge.dtype == z.dtype
        d = of_edge[begin:end] if of_edge is not None and kept else slope
        if activation == "relu":
            torch.ops.aten.threshold_backward.grad_input(slope, z, 0, grad_input=d)
        else:
            torch.ops.aten.silu_backward.grad_input(slope, z, grad_input=d)
        of_receiver[low:high] = _sum(d, segments, low, high, begin, end)
        if of_edge is not None and not kept:
            of_edge[begin:end] = d
        if to_sender is not None:
            add_at(to_sender, senders[begin:end], d)
    if to_sender is None:
        assert outgoing is not None
        assert to_edge is not None
        return to_receiver, sum_rows(to_edge, outgoing.rows, None), to_edge
    return to_receiver, to_sender.to(sender.dtype).reshape(sender.shape), to_edge


def softmax(values: Tensor, segments: Segments) -> Tensor:
    """Softmax over each receiver's edges `[m, w]`, in the dtype of the sums."""
    wide = widened(values)
    top, x = _flat(extreme_rows(wide, segments.rows, True)), _flat(wide)
    out = torch.empty_like(x)
    for low, high, begin, end in _tiles(segments, x):
        to, part = segments.receiver[begin:end], out[begin:end]
        torch.index_select(top, 0, to, out=part)
        torch.sub(x[begin:end], part, out=part).exp_()
        part /= _sum(part, segments, low, high, begin, end).index_select(0, to - low)
    return out.reshape(values.shape)


def softmax_backward(p: Tensor, grad: Tensor, segments: Segments) -> Tensor:
    """p (g - sum p g) `[m, w]`."""
    chance, g = _flat(widened(p)), _flat(widened(grad))
    out = torch.empty_like(chance)
    for low, high, begin, end in _tiles(segments, chance):
        to, part = segments.receiver[begin:end], out[begin:end]
        torch.mul(chance[begin:end], g[begin:end], out=part)
        mean = _sum(part, segments, low, high, begin, end)
        torch.sub(g[begin:end], mean.index_select(0, to - low), out=part)
        part *= chance[begin:end]
    return out.reshape(p.shape)


def extreme_backward(grad: Tensor, x: Tensor, best: Tensor, segments: Segments) -> Tensor:
    """The gradient of the extreme, in equal parts to the entries that attain it `[m, w]`.

    (That of torch's `segment_reduce` is divided among equal entries only where it is positive.)
    """
    out = torch.empty_like(x)
    g, numbers, top, total = _flat(grad), _flat(x), _flat(best), _flat(out)
    for low, high, begin, end in _tiles(segments, x):
        to, part = segments.receiver[begin:end], total[begin:end]
        # Comparing into floating-point numbers is several times faster than into booleans.
        torch.eq(numbers[begin:end], top.index_select(0, to), out=part)
        if _is_single(part, top[low:high], segments.rowptr[low : high + 1]):
            part *= g.index_select(0, to)
        else:
            share = _sum(part, segments, low, high, begin, end).clamp_(min=1)
            part *= (g[low:high] / share).index_select(0, to - low)
    return out


def _is_single(attained: Tensor, top: Tensor, rowptr: Tensor) -> bool:
    """Whether exactly one entry of each segment attains its extreme (1, else 0)."""
    segments = int(torch.count_nonzero(rowptr.diff())) * top.shape[1:].numel()
    if attained.numel() > _EXACT:
        return False
    return int(widened(attained).sum()) == segments and not bool(top.isnan().any())


def _flat(x: Tensor) -> Tensor:
    """A vector in place of a column."""
    return x.reshape(-1) if x.shape[1] == 1 else x


def _tiles(segments: Segments, x: Tensor) -> list[tuple[int, int, int, int]]:
    """Ranges of receivers and of their edges."""
    return segments.tiles(max(256, _TILE // max(x.shape[1:].numel(), 1)))


def _work(segments: Segments, like: Tensor) -> Tensor:
    """Two working arrays for the largest tile, in the dtype of the sums `[2, edges, w]`."""
    most = max((end - begin for _, _, begin, end in _tiles(segments, like)), default=0)
    return widened(like.new_empty(0)).new_empty(2, most, *like.shape[1:])


def _taken(x: Tensor, index: Tensor, work: Tensor) -> Tensor:
    """Rows of x in the working array."""
    out = work[: len(index)]
    if x.dtype != work.dtype:
        return out.copy_(x.index_select(0, index))
    return torch.index_select(x, 0, index, out=out)


def _combined(
    receiver: Tensor,
    sender: Tensor,
    edge: Tensor | None,
    to: Tensor,
    senders: Tensor,
    begin: int,
    end: int,
    work: Tensor,
) -> Tensor:
    """r + s + e for the edges of a tile, in the first working array."""
    z = _taken(receiver, to, work[0])
    z += _taken(sender, senders[begin:end], work[1])
    if edge is not None:
        z += edge[begin:end]
    return z


def _sum(z: Tensor, segments: Segments, low: int, high: int, begin: int, end: int) -> Tensor:
    """Sum over the receivers `low` to `high`, whose edges are `begin` to `end`."""
    if z.dim() == 1:
        to = segments.receiver[begin:end] - low
        return z.new_zeros(high - low).scatter_add_(0, to, z)
    part: Rows = segments.rows.part(low, high, begin, end)
    return sum_rows(z, part, None)
