"""Launches of the Triton programs: the same functions as `torch_rows`, on a GPU."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import triton_kernels as programs
from .plans import Rows, Scatter, Segments

_TILE = 1024
"""Numbers of a program's tile; rows and columns share it, so that narrow tables fill it too."""
_WIDEST = 128
"""Columns of a tile at most."""


def sum_rows(x: Tensor, rows: Rows, weights: Tensor | None) -> Tensor:
    """out[i] = sum over the entries k of row i of weights[k] x[columns[k]] `[n, w]`."""
    out = x.new_empty(rows.size, x.shape[1])
    columns, weight = _or(rows.columns, x), _or(weights, x)
    flags = {"HAS_COLUMNS": rows.columns is not None, "HAS_WEIGHTS": weights is not None}
    _over_rows(programs.sum_rows, (x, rows.rowptr, columns, weight, out), out, flags)
    return out


def extreme_rows(x: Tensor, rows: Rows, largest: bool) -> Tensor:
    """Largest or smallest entry of each row `[n, w]`; 0 where there are none."""
    out = x.new_empty(rows.size, x.shape[1])
    _over_rows(programs.extreme_rows, (x, rows.rowptr, out), out, {"SIGN": 1 if largest else -1})
    return out


def extreme_rows_backward(x: Tensor, best: Tensor, grad: Tensor, rows: Rows) -> Tensor:
    """The gradient of `extreme_rows`, shared among equal entries `[m, w]`."""
    out = torch.empty_like(x)
    _over_rows(programs.extreme_rows_backward, (x, best, grad, rows.rowptr, out), best)
    return out


def softmax_rows(x: Tensor, rows: Rows) -> Tensor:
    """Softmax over the entries of each row `[m, w]`."""
    out = torch.empty_like(x)
    _over_rows(programs.softmax_rows, (x, rows.rowptr, out), x.new_empty(rows.size, x.shape[1]))
    return out


def softmax_rows_backward(p: Tensor, grad: Tensor, rows: Rows) -> Tensor:
    """p (g - sum p g) `[m, w]`."""
    out = torch.empty_like(p)
    shape = p.new_empty(rows.size, p.shape[1])
    _over_rows(programs.softmax_rows_backward, (p, grad, rows.rowptr, out), shape)
    return out


def dot_entries(a: Tensor, b: Tensor, rows: Rows) -> Tensor:
    """a[owner[k]] . b[columns[k]] for each entry `[m]`."""
    out = a.new_empty(rows.entries)
    width = a.shape[1]
    if not rows.entries:
        return out
    with _device(a):
        columns = min(_WIDEST, triton.next_power_of_2(max(width, 1)))
        tile = max(1, _TILE // columns)
        programs.dot_entries[(triton.cdiv(rows.entries, tile),)](
            *(a, b, rows.owner, rows.columns, out, rows.entries, width),
            KIND=_kind(a), ROWS=tile, WIDTH=columns,
        )  # fmt: skip
    return out


def combine(
    receiver_part: Tensor, sender_part: Tensor, edge: Tensor | None, senders: Tensor, to: Tensor
) -> Tensor:
    """receiver_part[to[k]] + sender_part[senders[k]] + edge[k] for each edge `[m, w]`."""
    out = receiver_part.new_empty(len(to), receiver_part.shape[1])
    arrays = (receiver_part, sender_part, _or(edge, out), to, senders, out)
    _over_rows(programs.combine, arrays, out, {"HAS_EDGE": edge is not None})
    return out


def combine_reduce(
    receiver_part: Tensor,
    sender_part: Tensor,
    edge: Tensor | None,
    senders: Tensor,
    segments: Segments,
    activation: str,
) -> Tensor:
    """sum over j of f(r_i + s_j + e_ij) `[n, w]`."""
    out = torch.empty_like(receiver_part)
    arrays = (receiver_part, sender_part, _or(edge, out), segments.rowptr, senders, out)
    flags = {"HAS_EDGE": edge is not None, "ACTIVATION": activation}
    _over_rows(programs.combine_reduce, arrays, out, flags)
    return out


def combine_reduce_backward(
    grad: Tensor,
    receiver_part: Tensor,
    sender_part: Tensor,
    edge: Tensor | None,
    senders: Tensor,
    segments: Segments,
    outgoing: Scatter,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients to r, s and e; z is computed again."""
    flags = {"HAS_EDGE": edge is not None, "ACTIVATION": activation}
    to_receiver, to_sender = torch.empty_like(receiver_part), torch.empty_like(sender_part)
    to_edge = None if edge is None else torch.empty_like(edge)
    unused = _or(None, grad)
    _over_rows(
        programs.combine_reduce_backward,
        (
            *(receiver_part, sender_part, _or(edge, grad), grad, segments.rowptr, unused, senders),
            *(to_receiver, _or(to_edge, grad)),
        ),
        to_receiver,
        {**flags, "HAS_ORDER": False, "GRAD_IS_OWN": True, "STORE": edge is not None},
    )
    if to_edge is not None and to_edge.dtype not in (torch.bfloat16, torch.float16):
        return to_receiver, sum_rows(to_edge, outgoing.rows, None), to_edge
    _over_rows(
        programs.combine_reduce_backward,
        (
            *(sender_part, receiver_part, _or(edge, grad), grad, outgoing.rowptr, outgoing.order),
            *(segments.receiver, to_sender, unused),
        ),
        to_sender,
        {**flags, "HAS_ORDER": True, "GRAD_IS_OWN": False, "STORE": False},
    )
    return to_receiver, to_sender, to_edge


def _over_rows(
    program: Any, arrays: tuple[Tensor, ...], out: Tensor, flags: dict[str, Any] | None = None
) -> None:
    """Run a program over tiles of `out` `[n, w]`."""
    size, width = out.shape
    if not size or not width:
        return
    columns = min(_WIDEST, triton.next_power_of_2(width))
    tile = max(1, _TILE // columns)
    grid = (triton.cdiv(size, tile), triton.cdiv(width, columns))
    with _device(out):
        program[grid](
            *arrays, size, width, **(flags or {}), KIND=_kind(out), ROWS=tile, WIDTH=columns
        )


def _kind(x: Tensor) -> Any:
    """Type of the sums."""
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def _or(given: Tensor | None, like: Tensor) -> Tensor:
    """A pointer for an array that is not there, which the program does not read."""
    return like if given is None else given


def _device(x: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
