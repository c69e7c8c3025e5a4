"""Graphs of points by distance: all within a radius, or the k nearest.

Edges are `[2, m]`, senders (points) and receivers (queries), sorted by receiver and then by sender,
as in `mesh.edge_index`. `radius_pairs` and `nearest_pairs` join two sets of points;
`radius_graph` and `nearest_graph` join a set with itself, without loops. Points of different graphs
of a batch are never joined. Two methods give the same pairs: "tree" (scipy's k-d tree, on the CPU)
and "grid" (a hash of boxes in torch, on any device).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..kernels import Segments, row_pointers
from ._grid_search import by_query, grid_radius, radius_around

METHODS = ("auto", "tree", "grid")


def radius_pairs(
    points: Tensor,
    queries: Tensor,
    radius: float,
    *,
    points_batch: Tensor | None = None,
    queries_batch: Tensor | None = None,
    method: str = "auto",
) -> Tensor:
    """All pairs of a point and a query at most `radius` apart.

    Args:
        points: senders `[n, d]`.
        queries: receivers `[q, d]`.
        radius: largest distance, the bound included.
        points_batch, queries_batch: graph of each `[n]` and `[q]`; both or neither.
        method: "tree", "grid", or "auto": the tree on the CPU, the grid elsewhere.

    Returns:
        `[2, m]`, sorted by query, then by point.
    """
    _check(points, queries, points_batch, queries_batch, method)
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius}")
    if not len(points) or not len(queries):
        return torch.empty(2, 0, dtype=torch.int64, device=points.device)
    if _on_grid(method, points):
        return grid_radius(points, queries, radius, points_batch, queries_batch)
    apart = 3 * radius  # the graph is one more coordinate, further apart than the radius
    at, asked = _lifted(points, points_batch, apart), _lifted(queries, queries_batch, apart)
    found = cKDTree(asked).sparse_distance_matrix(cKDTree(at), radius, output_type="ndarray")
    return _sorted(found["j"], found["i"], points.device)


def nearest_pairs(
    points: Tensor,
    queries: Tensor,
    k: int,
    *,
    points_batch: Tensor | None = None,
    queries_batch: Tensor | None = None,
    method: str = "auto",
) -> Tensor:
    """The k nearest points of each query, or all of its graph where there are fewer.

    Of points at the same distance any may be the k-th. Arguments and result as `radius_pairs`.
    """
    _check(points, queries, points_batch, queries_batch, method)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if not len(points) or not len(queries):
        return torch.empty(2, 0, dtype=torch.int64, device=points.device)
    if _on_grid(method, points):
        return _grid_nearest(points, queries, k, points_batch, queries_batch)
    corners = torch.cat([points, queries]).detach()
    apart = 2 * float((corners.amax(dim=0) - corners.amin(dim=0)).norm()) + 1.0
    at, asked = _lifted(points, points_batch, apart), _lifted(queries, queries_batch, apart)
    taken = min(k, len(points))
    found = cKDTree(at).query(asked, k=list(range(1, taken + 1)))
    distance, index = np.asarray(found[0]), np.asarray(found[1])
    # a graph of fewer points than k: what comes next is in another graph
    own = distance < apart / 2 if points_batch is not None else np.isfinite(distance)
    receivers = np.broadcast_to(np.arange(len(asked))[:, None], index.shape)[own]
    return _sorted(index[own], receivers, points.device)


def radius_graph(
    pos: Tensor, radius: float, batch: Tensor | None = None, *, method: str = "auto"
) -> Tensor:
    """Edges between points `pos [n, d]` at most `radius` apart, both directions, no loops."""
    pairs = radius_pairs(pos, pos, radius, points_batch=batch, queries_batch=batch, method=method)
    return pairs[:, pairs[0] != pairs[1]]


def nearest_graph(
    pos: Tensor, k: int, batch: Tensor | None = None, *, method: str = "auto"
) -> Tensor:
    """Edges from the k nearest other points of `pos [n, d]` to each point."""
    pairs = nearest_pairs(pos, pos, k + 1, points_batch=batch, queries_batch=batch, method=method)
    own = pairs[0] == pairs[1]
    found = torch.zeros(len(pos), dtype=torch.bool, device=pos.device)
    found[pairs[1][own]] = True
    # among k + 1 points at one place a point may not find itself: then the last goes instead
    last = torch.ones_like(own)
    last[:-1] = pairs[1][1:] != pairs[1][:-1]
    return pairs[:, ~(own | (last & ~found[pairs[1]]))]


def pair_segments(pairs: Tensor, num_receivers: int) -> Segments:
    """Pairs `[2, m]` by receiver, for the segment reductions."""
    counts = torch.bincount(pairs[1], minlength=num_receivers)
    return Segments(row_pointers(counts), pairs[1])


def _grid_nearest(
    points: Tensor,
    queries: Tensor,
    k: int,
    points_batch: Tensor | None,
    queries_batch: Tensor | None,
) -> Tensor:
    """Balls that grow until each holds k points (or all of its graph), then the nearest of them."""
    own, asked = _graph(points, points_batch), _graph(queries, queries_batch)
    graphs = int(max(own.max(), asked.max())) + 1
    wanted = torch.bincount(own, minlength=graphs).clamp(max=k)[asked]
    left = torch.nonzero(wanted > 0).squeeze(1)
    radius = radius_around(points, own, k)
    parts = []
    while len(left):
        pairs = grid_radius(points, queries[left], radius, own, asked[left])
        count = torch.bincount(pairs[1], minlength=len(left))
        full = count >= wanted[left]
        pairs = pairs[:, full[pairs[1]]]
        distance = (points[pairs[0]] - queries[left[pairs[1]]]).norm(dim=1)
        pairs = pairs[:, by_query(pairs, distance)]
        start = row_pointers(torch.where(full, count, 0))
        rank = torch.arange(pairs.shape[1], device=pairs.device) - start[pairs[1]]
        pairs = pairs[:, rank < k]
        parts.append(torch.stack([pairs[0], left[pairs[1]]]))
        left, radius = left[~full], 2 * radius
    found = torch.cat(parts, dim=1)
    return found[:, by_query(found, found[0])]


def _graph(points: Tensor, batch: Tensor | None) -> Tensor:
    """Graph of each point `[n]`."""
    return torch.zeros(len(points), dtype=torch.int64).to(points.device) if batch is None else batch


def _sorted(
    senders: np.typing.NDArray[np.integer],
    receivers: np.typing.NDArray[np.integer],
    device: torch.device,
) -> Tensor:
    """Pairs `[2, m]`, sorted by receiver, then by sender."""
    order = np.lexsort((senders, receivers))
    pairs = np.stack([senders[order], receivers[order]]).astype(np.int64)
    return torch.from_numpy(pairs).to(device)


def _lifted(points: Tensor, batch: Tensor | None, apart: float) -> np.typing.NDArray[np.float64]:
    place = points.detach().cpu().double().numpy()
    if batch is None:
        return place
    return np.concatenate([place, apart * batch.cpu().double().numpy()[:, None]], axis=1)


def _on_grid(method: str, points: Tensor) -> bool:
    return method == "grid" or (method == "auto" and points.device.type != "cpu")


def _check(
    points: Tensor,
    queries: Tensor,
    points_batch: Tensor | None,
    queries_batch: Tensor | None,
    method: str,
) -> None:
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}")
    if points.dim() != 2 or queries.dim() != 2 or points.shape[1] != queries.shape[1]:
        raise ValueError(
            f"points and queries must be [n, d] and [q, d], got {list(points.shape)} and "
            f"{list(queries.shape)}"
        )
    if (points_batch is None) != (queries_batch is None):
        raise ValueError("give points_batch and queries_batch both, or neither")
