"""Neighbours within a radius by a hash of boxes, in torch on any device."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

_BITS = 62
"""Of the number of a box, in an int64."""


def grid_radius(
    points: Tensor,
    queries: Tensor,
    radius: float,
    points_batch: Tensor | None,
    queries_batch: Tensor | None,
) -> Tensor:
    """Pairs `[2, m]` at most `radius` apart, sorted by query, then by point.

    Points are sorted by the box of side `radius` that they lie in; each query looks in the boxes
    around its own.
    """
    low = torch.minimum(points.amin(dim=0), queries.amin(dim=0)).detach()
    # boxes a little larger than the radius: rounding never puts a neighbour two boxes away
    side = radius * (1 + 1e-6)
    own = ((points.detach() - low) / side).floor().long() + 1
    asked = ((queries.detach() - low) / side).floor().long() + 1
    counts = torch.maximum(own.amax(dim=0), asked.amax(dim=0)) + 2
    if float(counts.double().log2().sum()) > _BITS:
        raise ValueError(
            f"radius {radius:g} is too small for the extent of the points: "
            f"{' x '.join(str(int(c)) for c in counts)} boxes cannot be numbered"
        )
    stride = torch.cat([counts.new_ones(1), counts.cumprod(0)])
    key, wanted = (own * stride[:-1]).sum(dim=1), (asked * stride[:-1]).sum(dim=1)
    if points_batch is not None and queries_batch is not None:
        key, wanted = key + points_batch * stride[-1], wanted + queries_batch * stride[-1]
    key, order = key.sort(stable=True)
    steps = torch.tensor(list(product((-1, 0, 1), repeat=points.shape[1])), device=points.device)
    found = []
    for step in steps:  # 3^d boxes around
        box = wanted + (step * stride[:-1]).sum()
        first, last = torch.searchsorted(key, box), torch.searchsorted(key, box, right=True)
        count = last - first
        receiver = torch.repeat_interleave(count)
        begin = count.cumsum(0) - count
        place = torch.arange(len(receiver), device=key.device) - begin[receiver] + first[receiver]
        sender = order[place]
        near = (points[sender] - queries[receiver]).norm(dim=1) <= radius
        found.append(torch.stack([sender[near], receiver[near]]))
    pairs = torch.cat(found, dim=1)
    return pairs[:, by_query(pairs, pairs[0])]


def by_query(pairs: Tensor, key: Tensor) -> Tensor:
    """Order of pairs `[2, m]` by query, those of a query by a key `[m]`."""
    order = key.argsort(stable=True)
    return order[pairs[1][order].argsort(stable=True)]


def radius_around(points: Tensor, batch: Tensor, k: int) -> float:
    """A radius whose ball holds about k of evenly spread points."""
    extent = (points.amax(dim=0) - points.amin(dim=0)).detach().double()
    flat = extent.clamp(min=float(extent.max()) * 1e-3)
    each = len(points) / max(1, len(torch.unique(batch)))
    radius = float((flat.log().mean() + (torch.tensor((k + 1) / each).log() / len(flat))).exp())
    return max(radius, float(extent.max()) * 1e-5) or 1.0
