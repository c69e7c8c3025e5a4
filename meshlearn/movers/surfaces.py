"""Surfaces through the nodes of a boundary, and the points of them that are nearest to others.

Over each facet a cubic triangle with given normals at its corners (Vlachos, Peters, Boyd &
Mitchell, *Curved PN triangles*, I3D 2001), whose edges are the cubics of `curves`: they touch the
middle of an arc. Normals are weighted so that they are exact on a sphere (Max, J. Graphics Tools 4
(1999)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from .curves import cubic_controls

_CANDIDATES = 3
_MIRRORINGS = 2
"""Neighbours inside a patch give the normals of its rim, and these those of its corners."""
_CHOICE, _NEWTON, _SETTLED = 2, 15, 1e-12
"""Newton steps before a candidate is chosen and at most after, and the last one's size."""

# Bernstein polynomials of degree 3 on a triangle, by their exponents; control points in this order.
_EXPONENTS = (
    *((3, 0, 0), (0, 3, 0), (0, 0, 3)),
    *((2, 1, 0), (1, 2, 0), (0, 2, 1), (0, 1, 2), (1, 0, 2), (2, 0, 1), (1, 1, 1)),
)
_LATTICE = torch.tensor(
    [(i / 3, j / 3, (3 - i - j) / 3) for i in range(4) for j in range(4 - i)], dtype=torch.float64
)


@dataclass(frozen=True)
class Surfaces:
    """Cubic triangles.

    Attributes:
        coefficients: of the monomials of the first two barycentric coordinates `[t, 10, 3]`.
        group: the patch of each triangle `[t]`.
        node_group: the patch of each node that may slide `[m]`.
    """

    coefficients: Tensor
    group: Tensor
    node_group: Tensor
    dim = 2

    def closest(self, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest points of the nodes' own patches.

        Args:
            points: `[k, 3]`.
            rows: which of the sliding nodes they belong to `[k]`.

        Returns:
            Points `[k, 3]` and two orthonormal tangents `[k, 2, 3]`.
        """
        triangle, place = self._guess(points, self.node_group[rows])
        target = points[:, None].expand(-1, triangle.shape[1], -1).reshape(-1, 3)
        patch = self.coefficients[triangle.reshape(-1)]
        place = place.reshape(-1, 2)
        for _ in range(_CHOICE):
            x, a, b = _evaluate(patch, place)
            place = _stepped(place, _gauss_newton(target - x, a, b))
        x, _, _ = _evaluate(patch, place)
        gap = ((x - target) ** 2).sum(dim=1).view(triangle.shape)
        best = gap.argmin(dim=1) + triangle.shape[1] * torch.arange(len(points), device=gap.device)
        patch, place = patch[best], place[best]
        for _ in range(_NEWTON):
            x, a, b = _evaluate(patch, place)
            new = _stepped(place, _gauss_newton(points - x, a, b))
            change, place = float((new - place).abs().max()), new
            if change < _SETTLED:
                break
        x, first, second = _evaluate(patch, place)
        first = first / first.norm(dim=1, keepdim=True)
        second = second - (second * first).sum(dim=1, keepdim=True) * first
        second = second / second.norm(dim=1, keepdim=True)
        return x, torch.stack([first, second], dim=1)

    def _guess(self, points: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
        """Triangles of the nearest samples `[k, c]`, and where in them `[k, c, 2]`."""
        tree, triangle, place, apart = self._tree
        lifted = torch.cat([points, apart * group[:, None].to(points)], dim=1)
        index = np.asarray(tree.query(lifted.cpu().numpy(), k=_CANDIDATES)[1], np.int64)
        found = torch.from_numpy(index).to(points.device)
        return triangle[found], place[found]

    @property
    def _tree(self) -> tuple[KDTree, Tensor, Tensor, float]:
        known = self.__dict__.get("_cached")
        if known is None:
            count, device = len(self.coefficients), self.coefficients.device
            # Just inside: samples of neighbouring triangles do not coincide, so that all are found.
            inner = (0.9 * _LATTICE[:, :2] + 0.1 / 3).to(device)
            triangle = torch.arange(count, device=device).repeat_interleave(len(inner))
            place = inner.repeat(count, 1)
            x, _, _ = _evaluate(self.coefficients[triangle], place)
            apart = 10 * float((x.amax(dim=0) - x.amin(dim=0)).norm())
            lifted = torch.cat([x, apart * self.group[triangle][:, None].to(x)], dim=1)
            known = (KDTree(lifted.cpu().numpy()), triangle, place, apart)
            object.__setattr__(self, "_cached", known)
        return known


def surfaces_through(
    pos: Tensor, facets: Tensor, patch: Tensor, smooth: Tensor, sliding: Tensor
) -> Surfaces:
    """Surfaces through the nodes of facets.

    Args:
        pos: node positions `[n, 3]`.
        facets: nodes `[k, 3 or 4]`, a triangle among quads repeats its last node.
        patch: smooth part of the boundary that each facet belongs to `[k]`.
        smooth: nodes inside a patch, off its rim `[n]`, bool.
        sliding: the smooth nodes that may slide `[m]`.

    Returns:
        Triangles of all facets of the patches with sliding nodes, and the patch of each such node.
    """
    of = torch.zeros(len(pos), dtype=torch.int64, device=pos.device)
    touched = smooth[facets]
    of[facets[touched]] = patch[:, None].expand_as(facets)[touched]
    used = torch.isin(patch, of[sliding])
    facets, patch = facets[used], patch[used]
    # A node of several patches has a normal in each: it becomes a corner of its own.
    keys, corner = torch.unique(patch[:, None] * len(pos) + facets, return_inverse=True)
    node = keys % len(pos)
    normal = _normals(pos[node], corner, smooth[node])
    triangles, points, normals, owner = _triangles(pos[node], normal, corner)
    control = _control(points[triangles], normals[triangles])
    return Surfaces(_TO_MONOMIALS.to(control) @ control, patch[owner], of[sliding])


def _normals(at: Tensor, facets: Tensor, inside: Tensor) -> Tensor:
    """Unit normals `[c, 3]` at corners, up to their sign.

    Inside a patch Max's weights, sum of v1 x v2 / (|v1|^2 |v2|^2) over the two edges of each facet
    at the node. On its rim the normals of the neighbours, mirrored across the edge (an arc).
    """
    width = facets.shape[1]
    shares, place = [], []
    for k in range(width):
        here, after, before = (facets[:, (k + j) % width] for j in (0, 1, -1))
        if width == 4:  # a triangle among quads repeats its last node
            triangle = facets[:, 2] == facets[:, 3]
            if k == 3:
                here, after, before = here[~triangle], after[~triangle], before[~triangle]
            elif k == 2:
                after = torch.where(triangle, facets[:, 0], after)
            elif k == 0:
                before = torch.where(triangle, facets[:, 2], before)
        v, w = at[after] - at[here], at[before] - at[here]
        weight = (v**2).sum(dim=1) * (w**2).sum(dim=1)
        shares.append(torch.linalg.cross(v, w) / weight[:, None])
        place.append(here)
    total = _signed_sum(torch.cat(shares), torch.cat(place), len(at))
    edges = torch.cat([facets[:, [k, (k + 1) % width]] for k in range(width)])
    edges = torch.cat([edges, edges.flip(1)])
    known = inside.clone()
    for _ in range(_MIRRORINGS):
        pairs = edges[~known[edges[:, 0]] & known[edges[:, 1]]]
        if not len(pairs):
            break
        along = at[pairs[:, 1]] - at[pairs[:, 0]]
        along = along / along.norm(dim=1, keepdim=True)
        there = total[pairs[:, 1]]
        mirrored = there - 2 * (there * along).sum(dim=1, keepdim=True) * along
        rim = _signed_sum(mirrored, pairs[:, 0], len(at))
        new = torch.zeros_like(known)
        new[pairs[:, 0]] = True
        total = torch.where(new[:, None], rim, total)
        known |= new
    return total


def _signed_sum(vectors: Tensor, place: Tensor, count: int) -> Tensor:
    """Unit sums `[count, 3]` of vectors turned to the side of the first one at their place."""
    order = torch.arange(len(place), device=place.device)
    first = torch.full((count,), len(place), device=place.device)
    first = first.scatter_reduce(0, place, order, "amin").clamp(max=max(len(place) - 1, 0))
    side = torch.sign((vectors * vectors[first[place]]).sum(dim=1, keepdim=True))
    total = vectors.new_zeros(count, 3).index_add(0, place, side * vectors)
    return total / total.norm(dim=1, keepdim=True).clamp(min=1e-300)


def _triangles(at: Tensor, normal: Tensor, facets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Facets as triangles, a quad as four about its centre (no diagonal is preferred).

    Returns:
        Corners of the triangles `[t, 3]`, positions and normals of all corners, and the facet of
        each `[t]`.
    """
    number = torch.arange(len(facets), device=facets.device)
    if facets.shape[1] == 3:
        return facets, at, normal, number
    three = facets[:, 2] == facets[:, 3]
    quads = facets[~three]
    centre, up = _quad_centres(at[quads], normal[quads])
    middle = len(at) + torch.arange(len(quads), device=facets.device)
    parts, owners = [facets[three, :3]], [number[three]]
    for k in range(4):
        parts.append(torch.stack([quads[:, k], quads[:, (k + 1) % 4], middle], dim=1))
        owners.append(number[~three])
    return torch.cat(parts), torch.cat([at, centre]), torch.cat([normal, up]), torch.cat(owners)


def _quad_centres(points: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
    """Centres of the bilinearly blended (Coons) patches of quads `[k, 4, 3]`, and normals there."""
    middles = torch.zeros_like(points[:, 0])
    for k in range(4):
        j = (k + 1) % 4
        curve = _edge(points[:, k], points[:, j], normals[:, k], normals[:, j])
        middles = middles + (curve * curve.new_tensor([1, 3, 3, 1])[:, None] / 8).sum(dim=1)
    side = torch.sign((normals * normals[:, :1]).sum(dim=2, keepdim=True))
    up = (side * normals).sum(dim=1)
    return middles / 2 - points.mean(dim=1), up / up.norm(dim=1, keepdim=True)


def _control(points: Tensor, normals: Tensor) -> Tensor:
    """Control points `[t, 10, 3]` from corners and normals `[t, 3, 3]`."""
    edges = []
    for i, j in ((0, 1), (1, 2), (2, 0)):
        curve = _edge(points[:, i], points[:, j], normals[:, i], normals[:, j])
        edges += [curve[:, 1], curve[:, 2]]
    ring = torch.stack(edges, dim=1)
    mean = ring.mean(dim=1)
    centre = mean + (mean - points.mean(dim=1)) / 2
    return torch.cat([points, ring, centre[:, None]], dim=1)


def _edge(first: Tensor, second: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """Control points `[k, 4, 3]` of the cubic between two points with given normals."""
    chord = second - first
    tangents = []
    for normal in (start, stop):
        flat = chord - (chord * normal).sum(dim=1, keepdim=True) * normal
        tangents.append(flat / flat.norm(dim=1, keepdim=True))
    return cubic_controls(first, second, *tangents)


def _bernstein(bary: Tensor) -> Tensor:
    """The ten polynomials at barycentric coordinates `[k, 3] -> [k, 10]`."""
    columns = []
    for exponents in _EXPONENTS:
        count = (1, 1, 3, 6)[sum(e > 0 for e in exponents)]
        columns.append(
            count * torch.stack([bary[:, k] ** e for k, e in enumerate(exponents)]).prod(0)
        )
    return torch.stack(columns, dim=1)


def _monomials(place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """1, u, v, u^2, ... v^3 at `[k, 2]` and their derivatives by u and v, each `[k, 10]`."""
    u, v = place.unbind(dim=1)
    one, zero, uu, uv, vv = torch.ones_like(u), torch.zeros_like(u), u * u, u * v, v * v
    value = [one, u, v, uu, uv, vv, u * uu, u * uv, v * uv, v * vv]
    by_u = [zero, one, zero, 2 * u, v, zero, 3 * uu, 2 * uv, vv, zero]
    by_v = [zero, zero, one, zero, u, 2 * v, zero, uu, 2 * uv, 3 * vv]
    return torch.stack(value, dim=1), torch.stack(by_u, dim=1), torch.stack(by_v, dim=1)


_TO_MONOMIALS = torch.linalg.solve(_monomials(_LATTICE[:, :2])[0], _bernstein(_LATTICE))
"""From control points to coefficients of the monomials."""


def _evaluate(coefficients: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points `[k, 3]` and derivatives by the first two barycentric coordinates."""
    stacked = torch.stack(_monomials(place), dim=1)
    point, by_u, by_v = (stacked @ coefficients).unbind(dim=1)
    return point, by_u, by_v


def _gauss_newton(gap: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Steps `[k, 2]` along a and b that bring the point nearest to the target."""
    aa, ab, bb = (a * a).sum(dim=1), (a * b).sum(dim=1), (b * b).sum(dim=1)
    ga, gb = (gap * a).sum(dim=1), (gap * b).sum(dim=1)
    det = aa * bb - ab**2
    return torch.stack([(bb * ga - ab * gb) / det, (aa * gb - ab * ga) / det], dim=1)


def _stepped(place: Tensor, step: Tensor) -> Tensor:
    """Places `[k, 2]` after a step, drawn back onto the triangle where it leaves it."""
    new = place + step
    bary = torch.cat([new, 1 - new.sum(dim=1, keepdim=True)], dim=1).clamp(min=0.0)
    return bary[:, :2] / bary.sum(dim=1, keepdim=True)
