"""Unstructured triangle meshes of any simple polygon with holes, and random polygons to mesh.

>>> mesh = polygon(random_polygon(12, seed=3), h=0.1)
>>> sorted(mesh.facet_tags)
['boundary']
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import MeshError
from ..mesh import Mesh
from . import _gmsh, _grid

_SHARPEST = np.pi / 6  # no interior angle of a random polygon is below 30 degrees


def polygon(vertices: Any, h: float = 0.05, holes: Sequence[Any] = (), seed: int = 0) -> Mesh:
    """Mesh a simple polygon, less the holes in it, by triangles about `h` wide (needs gmsh).

    Args:
        vertices: corners `[k, 2]` in either direction; the first may be repeated at the end.
        h: wanted length of the edges; shorter sides stay whole and make the cells near them small.
        holes: the corners of each hole, which lies inside and touches neither side nor hole.
        seed: of the variation of `h` from corner to corner, up to 5 percent, that tells meshes of
            one polygon apart; the same seed gives the same mesh.

    Returns:
        A mesh with the outer sides tagged `outer` and those of the holes `hole_0`, `hole_1`
        and so on.

    Raises:
        MeshError: the polygon or a hole meets itself, a hole is not strictly inside or touches
            another, or gmsh is not installed.
    """
    h = _grid.positive("h", h)
    rng = np.random.default_rng(_grid.count("seed", seed, least=0))
    outer = _ring("the polygon", vertices)
    inner = [_ring(f"hole {i}", hole) for i, hole in enumerate(holes)]
    _check_nesting(outer, inner)
    names = ["outer", *(f"hole_{i}" for i in range(len(inner)))]
    with _gmsh.session() as gmsh:
        loops = []
        for name, ring in zip(names, [outer, *inner], strict=True):
            sizes = h * rng.uniform(0.95, 1.05, len(ring))
            points = [
                gmsh.model.geo.addPoint(x, y, 0.0, size)
                for (x, y), size in zip(ring, sizes, strict=True)
            ]
            lines = [
                gmsh.model.geo.addLine(a, b)
                for a, b in zip(points, points[1:] + points[:1], strict=True)
            ]
            loops.append(gmsh.model.geo.addCurveLoop(lines))
            gmsh.model.geo.addPhysicalGroup(1, lines, name=name)
        gmsh.model.geo.addPlaneSurface(loops)
        gmsh.model.geo.synchronize()
        gmsh.model.mesh.generate(2)
        return _gmsh.to_mesh(gmsh, 2)


def random_polygon(
    n_vertices: int, seed: int = 0, radius: float = 1.0, center: Sequence[float] = (0.0, 0.0)
) -> Tensor:
    """Draw a random simple polygon that is star-shaped about `center`.

    The corners stand at nearly equal angles; their distances follow a random smooth outline plus
    noise that is damped until every interior angle is at least 30 degrees.

    Args:
        n_vertices: number of corners, at least 3.
        seed: the same seed gives the same polygon.
        radius: distance of the farthest corner from `center`.
        center: a point that sees the whole polygon.

    Returns:
        The corners `[n_vertices, 2]`, float64, anticlockwise.
    """
    n = _grid.count("n_vertices", n_vertices, least=3)
    rng = np.random.default_rng(_grid.count("seed", seed, least=0))
    radius, middle = _grid.positive("radius", radius), _grid.point("center", center, 2)
    step = 2 * np.pi / n
    angle = step * (np.arange(n) + rng.uniform(-0.2, 0.2, n)) + rng.uniform(0, 2 * np.pi)
    waves = np.arange(1, 5)
    phase, height = rng.uniform(0, 2 * np.pi, 4), rng.normal(size=4) / waves
    outline = (height * np.cos(waves * angle[:, None] + phase)).sum(axis=1)
    noise = rng.uniform(-1.0, 1.0, n)
    for damping in itertools.count():  # ends: with no roughness left, all corners are on a circle
        roughness = 0.9**damping
        distance = np.exp(roughness * (0.4 * outline + 0.5 * noise))
        ring = distance[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        if _interior_angles(ring).min() >= _SHARPEST:
            break
    return torch.from_numpy(middle + radius / distance.max() * ring)


def _interior_angles(ring: _grid.Floats) -> _grid.Floats:
    """Return the angle inside each corner of an anticlockwise ring `[k, 2]`, in (0, 2 pi)."""
    to_next, to_last = np.roll(ring, -1, axis=0) - ring, np.roll(ring, 1, axis=0) - ring
    turn = np.arctan2(_cross(to_next, to_last), (to_next * to_last).sum(axis=1))
    return turn % (2 * np.pi)


def _ring(what: str, vertices: Any) -> _grid.Floats:
    """Return corners `[k, 2]` anticlockwise without a repeated end, or raise a `MeshError`."""
    try:
        ring = np.asarray(vertices, dtype=np.float64)
    except (TypeError, ValueError):
        raise MeshError(f"{what} must be corners [k, 2], got {type(vertices).__name__}") from None
    if ring.ndim != 2 or ring.shape[1] != 2:
        raise MeshError(f"{what} must be corners [k, 2], got an array of shape {list(ring.shape)}")
    if not np.isfinite(ring).all():
        bad = int(np.flatnonzero(~np.isfinite(ring).all(axis=1))[0])
        raise MeshError(f"{what} has a coordinate that is not finite at vertex {bad}")
    if len(ring) > 1 and (ring[0] == ring[-1]).all():
        ring = ring[:-1]
    if len(ring) < 3:
        raise MeshError(f"{what} needs at least 3 different vertices, got {len(ring)}")
    _check_simple(what, ring)
    return ring if _area(ring) > 0 else ring[::-1]


def _check_simple(what: str, ring: _grid.Floats) -> None:
    """Raise a `MeshError` where a ring `[k, 2]` repeats a corner or meets itself."""
    n = len(ring)
    _, first, number = np.unique(ring, axis=0, return_index=True, return_inverse=True)
    repeated = np.flatnonzero(first[number.reshape(-1)] != np.arange(n))
    if repeated.size:
        raise MeshError(
            f"{what} repeats vertex {first[number.reshape(-1)[repeated[0]]]} as vertex "
            f"{repeated[0]}; give each corner once"
        )
    a, b = ring, np.roll(ring, -1, axis=0)
    i, j = _touching(a, b, a, b).T
    apart = ((j - i) % n > 1) & ((i - j) % n > 1)
    # Neighbouring sides share a corner, so they overlap only where the path folds back on itself.
    along, onward = b - a, np.roll(b - a, -1, axis=0)
    folded = np.flatnonzero((_cross(along, onward) == 0) & ((along * onward).sum(axis=1) < 0))
    bad = [*zip(i[apart], j[apart], strict=True), *zip(folded, (folded + 1) % n, strict=True)]
    if bad:
        i, j = bad[0]
        raise MeshError(
            f"{what} intersects itself: the side from vertex {i} meets the side from vertex {j}"
        )


def _check_nesting(outer: _grid.Floats, holes: list[_grid.Floats]) -> None:
    """Raise a `MeshError` unless all holes are strictly inside and apart from each other."""
    for i, hole in enumerate(holes):
        if _meet(outer, hole) or not _inside(hole[0], outer):
            raise MeshError(f"hole {i} is not strictly inside the polygon; move or shrink it")
    for (i, one), (j, other) in itertools.combinations(enumerate(holes), 2):
        if _meet(one, other) or _inside(one[0], other) or _inside(other[0], one):
            raise MeshError(f"holes {i} and {j} overlap; merge them or move them apart")


def _meet(one: _grid.Floats, other: _grid.Floats) -> bool:
    """Say whether the sides of two rings have a point in common."""
    ends = np.roll(one, -1, axis=0), np.roll(other, -1, axis=0)
    return len(_touching(one, ends[0], other, ends[1])) > 0


def _touching(
    a: _grid.Floats, b: _grid.Floats, c: _grid.Floats, d: _grid.Floats, block: int = 256
) -> _grid.Ints:
    """Return the pairs `[p, 2]` of segments `a b` `[k, 2]` and `c d` `[m, 2]` that meet."""
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(a), block):  # in blocks, so that memory stays linear
        p, q = a[start : start + block, None], b[start : start + block, None]
        # Segments on one line pass the second test, so that their boxes must meet as well.
        near = (np.maximum(p, q) >= np.minimum(c, d)) & (np.maximum(c, d) >= np.minimum(p, q))
        i, j = np.nonzero(near.all(axis=2))
        p, q, r, s = p[i, 0], q[i, 0], c[j], d[j]
        split = _cross(q - p, r - p) * _cross(q - p, s - p)
        crossed = _cross(s - r, p - r) * _cross(s - r, q - r)
        meet = (split <= 0) & (crossed <= 0)
        pairs.append(np.column_stack([start + i[meet], j[meet]]))
    return np.concatenate(pairs)


def _inside(point: _grid.Floats, ring: _grid.Floats) -> bool:
    """Say whether a point `[2]` is inside a ring, by the parity of the sides to its right."""
    a, b = ring, np.roll(ring, -1, axis=0)
    x, y = point
    crosses = (a[:, 1] > y) != (b[:, 1] > y)
    rise = np.where(b[:, 1] == a[:, 1], 1.0, b[:, 1] - a[:, 1])
    right = x < a[:, 0] + (y - a[:, 1]) / rise * (b[:, 0] - a[:, 0])
    return int((crosses & right).sum()) % 2 == 1


def _area(ring: _grid.Floats) -> float:
    """Return the signed area of a ring, positive anticlockwise."""
    return float(_cross(ring, np.roll(ring, -1, axis=0)).sum() / 2)


def _cross(u: _grid.Floats, v: _grid.Floats) -> _grid.Floats:
    """Return the cross products `[...]` of plane vectors `[..., 2]`."""
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
