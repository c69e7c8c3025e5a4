"""The walk through simplices towards query points, all points at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IndexArray = NDArray[np.int32]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_TOLERANCE = 1e-12  # how negative a barycentric coordinate may be by round-off
_CHUNK = 32768  # points walking together: their arrays stay in the cache
_STAGES = (8, 64)  # steps before stragglers are regrouped, and more steps before they give up


def walk(
    rows: FloatArray, neighbours: IndexArray, x: FloatArray, start: IndexArray
) -> tuple[IndexArray, FloatArray, IntArray]:
    """Walk from simplex to neighbouring simplex until the points are inside.

    Args:
        rows: first corner and gradients of the last d barycentric coordinates of each simplex,
            `[m, d + d * d]`.
        neighbours: simplex across the facet opposite to each corner, -1 for none `[m, d + 1]`.
        x: points `[q, d]`.
        start: first simplex of each walk `[q]`.

    Returns:
        Simplex of each point `[q]`, barycentric coordinates in it `[q, d + 1]`, and the sorted
        indices of the points whose walk met the boundary or did not end.
    """
    simplex = start.copy()
    coordinates = np.empty((len(x), x.shape[1] + 1))
    lost = [np.empty(0, np.int64)]
    late = []
    for begin in range(0, len(x), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        tired, left = _walk_chunk(
            rows, neighbours, x[part], simplex[part], coordinates[part], _STAGES[0]
        )
        late.append(tired + begin)
        lost.append(left + begin)
    stragglers = np.concatenate(late) if late else lost[0]
    for begin in range(0, len(stragglers), _CHUNK):
        index = stragglers[begin : begin + _CHUNK]
        own_simplex, own_coordinates = simplex[index], coordinates[index]
        tired, left = _walk_chunk(
            rows, neighbours, x[index], own_simplex, own_coordinates, _STAGES[1]
        )
        simplex[index], coordinates[index] = own_simplex, own_coordinates
        lost += [index[tired], index[left]]
    return simplex, coordinates, np.sort(np.concatenate(lost))


def _walk_chunk(
    rows: FloatArray,
    neighbours: IndexArray,
    x: FloatArray,
    simplex: IndexArray,
    coordinates: FloatArray,
    steps: int,
) -> tuple[IntArray, IntArray]:
    """Walk a chunk, in place; return the points still walking and those that left the mesh."""
    d = x.shape[1]
    across = neighbours.reshape(-1)
    columns = [np.ascontiguousarray(x[:, j]) for j in range(d)]
    current, walking = simplex, np.arange(len(x))
    left = []
    for step in range(steps):
        row = rows.take(current, axis=0, mode="clip")
        offset = [columns[j] - row[:, j] for j in range(d)]
        parts = _barycentric(row, offset)
        worst = parts[0]
        for part in parts[1:]:
            worst = np.minimum(worst, part)
        if step:
            simplex[walking] = current
            for i, part in enumerate(parts):
                coordinates[walking, i] = part
        else:
            for i, part in enumerate(parts):
                coordinates[:, i] = part
        on = np.flatnonzero(worst < -_TOLERANCE)
        worst = worst[on]
        slot = current[on] * np.int32(d + 1)
        exit_facet = np.zeros(len(on), np.int32)
        for i in range(1, d + 1):
            exit_facet[parts[i][on] == worst] = i
        current = across.take(slot + exit_facet, mode="clip")
        walking, columns = walking[on], [column[on] for column in columns]
        inside = current >= 0
        if not inside.all():
            left.append(walking[~inside])
            current, walking = current[inside], walking[inside]
            columns = [column[inside] for column in columns]
        if not len(walking):
            break
    simplex[walking] = current
    return walking, np.concatenate(left) if left else np.empty(0, np.int64)


def _barycentric(row: FloatArray, offset: list[FloatArray]) -> list[FloatArray]:
    """Barycentric coordinates, one array each, from rows and offsets to the first corner."""
    d = len(offset)
    parts: list[FloatArray] = []
    for i in range(d):
        part = row[:, d + i * d] * offset[0]
        for j in range(1, d):
            part += row[:, d + i * d + j] * offset[j]
        parts.append(part)
    first = 1 - parts[0]
    for part in parts[1:]:
        first -= part
    return [first, *parts]


def clip_coordinates(coordinates: FloatArray) -> None:
    """Bring barycentric coordinates that are negative by round-off back to [0, 1], in place."""
    lowest = coordinates[:, 0]
    for i in range(1, coordinates.shape[1]):
        lowest = np.minimum(lowest, coordinates[:, i])
    beyond = np.flatnonzero(lowest < 0)
    inside = np.maximum(coordinates[beyond], 0)
    coordinates[beyond] = inside / inside.sum(axis=1, keepdims=True)
