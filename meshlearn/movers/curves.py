"""Curves through the nodes of a boundary, and the points of them that are nearest to others.

Between two nodes the curve is a cubic with given tangents at both ends, so that it has no kink at a
node. Tangents are those of the circle through a node and its two neighbours, and the speed at the
ends that of the best cubic for an arc: a circle is met to its radius times (turn per edge / 90
degrees)^6 / 2500 or so, any smooth curve to third order of the edge length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from ..mesh.features import chain_numbers

_SAMPLES = 5
_CANDIDATES = 3
_NEWTON = 25


@dataclass(frozen=True)
class Curves:
    """Cubic segments, `points(u) = sum of b_k(u) c_k` with Bernstein polynomials.

    Attributes:
        control: control points `[s, 4, d]`.
        group: the chain of each segment `[s]`.
        node_group: the chain of each node that may slide `[m]`.
    """

    control: Tensor
    group: Tensor
    node_group: Tensor
    dim = 1

    def closest(self, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest points of the nodes' own chains.

        Args:
            points: `[k, d]`.
            rows: which of the sliding nodes they belong to `[k]`.

        Returns:
            Points `[k, d]` and unit tangents `[k, 1, d]`.
        """
        segment, u = self._guess(points, self.node_group[rows])
        target = points[:, None].expand(-1, segment.shape[1], -1).reshape(-1, points.shape[1])
        control = self.control[segment.reshape(-1)]
        u = u.reshape(-1)
        for _ in range(_NEWTON):
            x, first, second = _evaluate(control, u)
            gap = x - target
            slope = (gap * first).sum(dim=1)
            speed = (first * first).sum(dim=1)
            curvature = speed + (gap * second).sum(dim=1)
            # Gauss-Newton where the distance is not convex
            step = slope / torch.where(curvature > 0.2 * speed, curvature, speed)
            new = (u - step).clamp(0.0, 1.0)
            change, u = float((new - u).abs().max()), new
            if change < 1e-13:
                break
        x, first, _ = _evaluate(control, u)
        shape = (*segment.shape, points.shape[1])
        distance = ((x - target) ** 2).sum(dim=1).view(segment.shape)
        best = distance.argmin(dim=1)
        pick = torch.arange(len(points), device=points.device)
        tangent = first.view(shape)[pick, best]
        tangent = tangent / tangent.norm(dim=1, keepdim=True)
        return x.view(shape)[pick, best], tangent[:, None]

    def _guess(self, points: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
        """Segments of the nearest samples `[k, c]`, and where on them."""
        tree, segment, u, apart = self._tree
        lifted = torch.cat([points, apart * group[:, None].to(points)], dim=1)
        count = min(_CANDIDATES, len(segment))
        index = np.asarray(tree.query(lifted.cpu().numpy(), k=count)[1], np.int64)
        found = torch.from_numpy(index.reshape(len(points), count)).to(points.device)
        return segment[found], u[found]

    @property
    def _tree(self) -> tuple[KDTree, Tensor, Tensor, float]:
        known = self.__dict__.get("_cached")
        if known is None:
            count = len(self.control)
            u = torch.linspace(0, 1, _SAMPLES, dtype=torch.float64, device=self.control.device)
            segment = torch.arange(count, device=u.device).repeat_interleave(_SAMPLES)
            u = u.repeat(count)
            x, _, _ = _evaluate(self.control[segment], u)
            # The number of the chain is one more coordinate: another chain is never nearest.
            apart = 10 * float((x.amax(dim=0) - x.amin(dim=0)).norm())
            lifted = torch.cat([x, apart * self.group[segment][:, None].to(x)], dim=1)
            known = (KDTree(lifted.cpu().numpy()), segment, u, apart)
            object.__setattr__(self, "_cached", known)
        return known


def curves_through(pos: Tensor, edges: Tensor, smooth: Tensor, sliding: Tensor) -> Curves:
    """Curves through the nodes of chains.

    Args:
        pos: node positions `[n, d]`.
        edges: of chains `[k, 2]`.
        smooth: nodes of exactly two of the edges where the curve has a tangent `[n]`, bool.
        sliding: the smooth nodes that may slide `[m]`.

    Returns:
        A segment for each edge with a smooth end, and the chain of each sliding node.
    """
    edges = edges[smooth[edges].any(dim=1)]
    tangent = _circle_tangents(pos, edges)
    chord = pos[edges[:, 1]] - pos[edges[:, 0]]
    chord = chord / chord.norm(dim=1, keepdim=True)
    ends = []
    for column in (0, 1):
        own = tangent[edges[:, column]]
        ends.append(own * torch.sign((own * chord).sum(dim=1, keepdim=True)))
    # Where the curve ends at a corner, the tangent mirrors that of the other end (an arc).
    mirrored = [2 * (t * chord).sum(dim=1, keepdim=True) * chord - t for t in ends]
    start = torch.where(smooth[edges[:, :1]], ends[0], mirrored[1])
    stop = torch.where(smooth[edges[:, 1:]], ends[1], mirrored[0])
    group = chain_numbers(edges, smooth)
    of = torch.zeros(len(pos), dtype=torch.int64, device=pos.device)
    of[edges.reshape(-1)] = group.repeat_interleave(2)
    of[edges[smooth[edges]]] = group[:, None].expand(-1, 2)[smooth[edges]]
    control = cubic_controls(pos[edges[:, 0]], pos[edges[:, 1]], start, stop)
    return Curves(control, group, of[sliding])


def cubic_controls(first: Tensor, second: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """Control points `[k, 4, d]` of cubics between points with given unit tangents.

    An arc that turns by a over the chord c has end speeds c / cos^2(a / 4): the cubic touches the
    middle of the arc.
    """
    cosine = (start * stop).sum(dim=1).clamp(-1.0, 1.0)
    speed = (second - first).norm(dim=1) / torch.cos(torch.arccos(cosine) / 4) ** 2
    reach = speed[:, None] / 3
    return torch.stack([first, first + reach * start, second - reach * stop, second], dim=1)


def _circle_tangents(pos: Tensor, edges: Tensor) -> Tensor:
    """Unit tangents `[n, d]` of the circle through a node and its two neighbours.

    Chords e1 = x - x_1 and e2 = x_2 - x give |e2| e1 / |e1| + |e1| e2 / |e2|, up to its sign.
    """
    ends, others = edges.reshape(-1), edges.flip(1).reshape(-1)
    away = pos[others] - pos[ends]
    # The two edges of a node point away from it: one sign is turned, that of the second.
    order = torch.argsort(ends, stable=True)
    sorted_ends = ends[order]
    second = torch.zeros_like(sorted_ends, dtype=torch.bool)
    second[1:] = sorted_ends[1:] == sorted_ends[:-1]
    sign = torch.ones_like(away[:, 0])
    sign[order] = torch.where(second, 1.0, -1.0).to(sign)
    # |e2| e1^ + |e1| e2^ over |e1| |e2| is e1 / |e1|^2 + e2 / |e2|^2
    share = sign[:, None] * away / (away**2).sum(dim=1, keepdim=True)
    total = torch.zeros_like(pos).index_add(0, ends, share)
    size = total.norm(dim=1, keepdim=True)
    return total / size.clamp(min=torch.finfo(size.dtype).tiny)


def _evaluate(control: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points, first and second derivatives `[k, d]` of cubics `[k, 4, d]` at `[k]`."""
    a, b, c, e = control.unbind(dim=1)
    u = u[:, None]
    v = 1 - u
    point = v**3 * a + 3 * u * v**2 * b + 3 * u**2 * v * c + u**3 * e
    first = 3 * (v**2 * (b - a) + 2 * u * v * (c - b) + u**2 * (e - c))
    second = 6 * (v * (c - 2 * b + a) + u * (e - 2 * c + b))
    return point, first, second
