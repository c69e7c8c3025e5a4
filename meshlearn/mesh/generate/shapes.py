"""Mapped meshes of a disk, an annulus, an L and a ball: exact counts, good cells, no gmsh.

>>> mesh = disk(4)
>>> mesh.num_nodes, mesh.num_cells
(61, 96)
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..mesh import Mesh
from . import _grid

Quadrant = Literal["lower_right", "lower_left", "upper_right", "upper_left"]


def disk(n: int, radius: float = 1.0, center: Sequence[float] = (0.0, 0.0)) -> Mesh:
    """Mesh a disk by `n` rings of triangles, ring `k` carrying `6 k` equally spaced nodes.

    This is a hexagon of equilateral triangles drawn onto the disk: `1 + 3 n (n + 1)` nodes,
    `6 n^2` cells, symmetric under a turn by 60 degrees; its area converges at second order.

    Args:
        n: rings, so that cells are about `radius / n` wide.
        radius, center: of the circle.

    Returns:
        A mesh numbered from the centre outward, its circle tagged `boundary`.
    """
    n = _grid.count("n", n)
    radius, middle = _grid.positive("radius", radius), _grid.point("center", center, 2)
    ring = np.repeat(np.arange(1, n + 1), 6 * np.arange(1, n + 1))
    first = 1 + 3 * ring * (ring - 1)
    angle = 2 * np.pi * (np.arange(1, ring.size + 1) - first) / (6 * ring)
    circle = np.column_stack([np.cos(angle), np.sin(angle)]) * (radius * ring / n)[:, None]
    pos = middle + np.concatenate([np.zeros((1, 2)), circle])

    # A sector of ring k has k triangles with an edge on the ring and k - 1 that only touch it.
    k, sector, j = (axis.ravel() for axis in np.mgrid[1 : n + 1, 0:6, 0:n])
    outer, inner = j < k, j < k - 1
    on, off = sector * k + j, sector * (k - 1) + j
    pointing_in = np.stack([_ring(k, on), _ring(k, on + 1), _ring(k - 1, off)], axis=1)
    pointing_out = np.stack([_ring(k - 1, off), _ring(k, on + 1), _ring(k - 1, off + 1)], axis=1)
    cells = np.concatenate([pointing_in[outer], pointing_out[inner]])
    cells = cells[np.argsort(np.concatenate([k[outer], k[inner]]), kind="stable")]
    tags = {"boundary": _loop(_ring(np.full(6 * n, n), np.arange(6 * n)))}
    return Mesh.from_cells(pos, {"triangle": cells}, facet_tags=tags)


def annulus(
    n: int, inner: float = 0.5, outer: float = 1.0, center: Sequence[float] = (0.0, 0.0)
) -> Mesh:
    """Mesh the ring between two circles by `n` layers of nearly equilateral triangles.

    The layers grow with the radius and every other one is turned by half a cell, so that all cells
    have one shape whatever the ratio of the radii; a circle carries a multiple of four nodes.

    Args:
        n: layers from the inner to the outer circle.
        inner, outer: the radii.
        center: of both circles.

    Returns:
        A mesh numbered from the inside out, its circles tagged `inner` and `outer`.
    """
    n = _grid.count("n", n)
    low, high = _grid.positive("inner", inner), _grid.positive("outer", outer)
    if low >= high:
        raise ValueError(f"inner must be below outer, got {low:g} and {high:g}")
    middle = _grid.point("center", center, 2)
    growth = np.log(high / low) / n
    around = 4 * max(2, round(2 * np.pi * np.sin(np.pi / 3) / growth / 4))

    layer, j = np.mgrid[0 : n + 1, 0:around]
    angle = 2 * np.pi / around * (j + layer % 2 / 2)
    radius = np.geomspace(low, high, n + 1)[layer]
    circles = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    pos = middle + circles.reshape(-1, 2)

    grid = _grid.node_grid([n + 1, around])
    left = grid[:-1], grid[1:]
    right = np.roll(grid[:-1], -1, axis=1), np.roll(grid[1:], -1, axis=1)
    even = np.stack([left[0], left[1], right[0], left[1], right[1], right[0]], axis=-1)
    odd = np.stack([left[1], right[1], left[0], left[0], right[1], right[0]], axis=-1)
    cells = np.where((layer[:-1] % 2 == 0)[..., None], even, odd).reshape(-1, 3)
    tags = {"inner": _loop(grid[0, ::-1]), "outer": _loop(grid[-1])}
    return Mesh.from_cells(pos, {"triangle": cells}, facet_tags=tags)


def l_shape(
    n: int,
    removed: Quadrant = "lower_right",
    diagonal: _grid.Diagonal | None = None,
    cell: Literal["triangle", "quad"] = "triangle",
) -> Mesh:
    """Mesh the square `(-1, 1)^2` less one quadrant, with its re-entrant corner at the origin.

    Args:
        n: boxes along a side of one quadrant, so that cells are `1 / n` wide.
        removed: the quadrant that is missing.
        diagonal: as for `rectangle`; by default the one for which the mesh has the mirror
            symmetry of the L.
        cell: `triangle` or `quad`.

    Returns:
        A mesh with its whole boundary tagged `boundary`.
    """
    n = _grid.count("n", n)
    _grid.choice("removed", removed, ("lower_right", "lower_left", "upper_right", "upper_left"))
    mirrored = "left" if removed in ("lower_right", "upper_left") else "right"
    cut = mirrored if diagonal is None else diagonal
    _grid.choice("diagonal", cut, ("left", "right", "crossed"))
    _grid.choice("cell", cell, ("triangle", "quad"))

    side = np.linspace(-1.0, 1.0, 2 * n + 1)
    pos = _grid.grid_points([side, side])
    cells = _grid.quads(_grid.node_grid([side.size, side.size]))
    middles = pos[cells].mean(axis=1)
    above, beyond = removed.startswith("upper"), removed.endswith("right")
    gone = ((middles[:, 1] > 0) == above) & ((middles[:, 0] > 0) == beyond)
    cells, middles = cells[~gone], middles[~gone]
    boundary = _grid.boundary_edges(cells)
    if cell == "triangle":
        centres = None
        if cut == "crossed":
            centres = len(pos) + np.arange(len(cells), dtype=np.int64)
            pos = np.concatenate([pos, middles])
        cells = _grid.triangles(cells, cut, centres)
    used, local = np.unique(cells, return_inverse=True)
    tags = {"boundary": np.searchsorted(used, boundary)}
    return Mesh.from_cells(pos[used], {cell: local.reshape(cells.shape)}, facet_tags=tags)


def ball(n: int, radius: float = 1.0, center: Sequence[float] = (0.0, 0.0, 0.0)) -> Mesh:
    """Mesh a ball by `n` shells of tetrahedra over a refined icosahedron.

    Each of the 20 sectors between the centre and a face of the icosahedron is cut into `n^3`
    tetrahedra and drawn onto the ball shell by shell: `20 n^3` cells; the volume converges at
    second order.

    Args:
        n: shells, so that cells are about `radius / n` wide.
        radius, center: of the sphere.

    Returns:
        A mesh numbered from the centre outward, its sphere tagged `boundary`.
    """
    n = _grid.count("n", n)
    radius, middle = _grid.positive("radius", radius), _grid.point("center", center, 3)
    corners, faces = _icosahedron()
    shells, tetrahedra = _kuhn_simplex(n)

    # Node (k, a, b) of a sector is on shell k with weights (k - a, a - b, b) on its face corners.
    weights = np.column_stack(
        [shells[:, 0] - shells[:, 1], shells[:, 1] - shells[:, 2], shells[:, 2]]
    )
    spread = np.zeros((len(faces), len(weights), 1 + len(corners)), dtype=np.int64)
    spread[:, :, 0] = shells[:, 0]
    face, row = np.arange(len(faces))[:, None, None], np.arange(len(weights))[:, None]
    spread[face, row, 1 + faces[:, None, :]] = weights
    # Equal weights mean the same node, which is how the sectors are joined without tolerances.
    unique, node = np.unique(spread.reshape(-1, spread.shape[2]), axis=0, return_inverse=True)
    node = node.reshape(len(faces), len(weights))

    direction = unique[1:, 1:] @ corners
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    shell = unique[1:, :1] * (radius / n)
    pos = middle + np.concatenate([np.zeros((1, 3)), direction * shell])
    cells = node[:, tetrahedra].reshape(-1, 4)
    outermost = (shells[:, 0] == n)[tetrahedra[:, 1:]].all(axis=1)
    tags = {"boundary": node[:, tetrahedra[outermost][:, 1:]].reshape(-1, 3)}
    return Mesh.from_cells(pos, {"tetra": cells}, facet_tags=tags)


def _ring(k: _grid.Ints, i: _grid.Ints) -> _grid.Ints:
    """Return the number of node `i` (modulo `6 k`) on ring `k` of a disk."""
    return np.where(k == 0, 0, 1 + 3 * k * (k - 1) + i % np.maximum(6 * k, 1))


def _loop(nodes: _grid.Ints) -> _grid.Ints:
    """Join nodes `[k]` into a closed loop of edges `[k, 2]`."""
    return np.column_stack([nodes, np.roll(nodes, -1)])


def _icosahedron() -> tuple[_grid.Floats, _grid.Ints]:
    """Return the corners `[12, 3]` on the unit sphere and the outward faces `[20, 3]`."""
    golden = (1 + 5**0.5) / 2
    rectangle = np.array([[0.0, s, t * golden] for s in (-1, 1) for t in (-1, 1)])
    corners = np.concatenate([np.roll(rectangle, turn, axis=1) for turn in range(3)])
    triples = np.array(list(itertools.combinations(range(12), 3)), dtype=np.int64)
    sides = corners[triples] - corners[np.roll(triples, 1, axis=1)]
    faces = triples[np.isclose(np.linalg.norm(sides, axis=2), 2.0).all(axis=1)]
    inward = np.linalg.det(corners[faces]) < 0
    faces[inward] = faces[inward][:, [0, 2, 1]]
    return corners / np.hypot(1, golden), faces


def _kuhn_simplex(n: int) -> tuple[_grid.Ints, _grid.Ints]:
    """Cut the simplex `n >= k >= a >= b >= 0` into unit tetrahedra.

    Returns:
        Its integer nodes `(k, a, b)` `[m, 3]` and positive tetrahedra `[n^3, 4]` whose
        first node has the lowest coordinates, ordered by `k`.
    """
    steps = np.eye(3, dtype=np.int64)
    paths = []
    for order in itertools.permutations(range(3)):
        path = np.concatenate([np.zeros((1, 3), dtype=np.int64), np.cumsum(steps[list(order)], 0)])
        odd = np.linalg.det(steps[list(order)]) < 0
        paths.append(path[[0, 1, 3, 2]] if odd else path)
    bases = np.indices((n, n, n)).reshape(3, -1).T
    corners = (bases[:, None, None] + np.stack(paths)).reshape(-1, 4, 3)
    inside = (corners[..., :-1] >= corners[..., 1:]).all(axis=(1, 2))
    nodes, local = np.unique(corners[inside].reshape(-1, 3), axis=0, return_inverse=True)
    return nodes, local.reshape(-1, 4)
