"""Random valid meshes for property tests, as hypothesis strategies and as plain functions.

Every mesh fills a box with jittered cells, perhaps with a polygonal hole, drawn through a random
affine map and randomly numbered. The flat sides stay flat: their nodes are jittered along them.

    from strategies import any_meshes, triangle_meshes

    @given(any_meshes())
    def test_something(mesh: Mesh) -> None: ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from meshlearn.mesh import CELL_TYPES, Mesh

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Blocks = list[tuple[str, Ints]]

SIDES = (("left", "right"), ("front", "back"), ("bottom", "top"))
"""Names of the facet tags of the sides of a tagged mesh: low and high end of each axis."""

_KUHN = ((0, 1, 2, 6), (0, 2, 3, 6), (0, 3, 7, 6), (0, 7, 4, 6), (0, 4, 5, 6), (0, 5, 1, 6))


# -- strategies --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    """What a random mesh may have.

    Attributes:
        max_cells: boxes of the grid along each axis, at most.
        min_cells: boxes of the grid along each axis, at least.
        jitter: displacement of nodes in units of the grid spacing, at most (0.35 is wild).
        stretch: ratio of the singular values of the affine map, at most.
        holes: whether a block of boxes may be missing.
        tags: whether sides (`SIDES`), hole and two halves of the cells are tagged.
    """

    min_cells: int = 1
    max_cells: int = 4
    jitter: float = 0.3
    stretch: float = 4.0
    holes: bool = True
    tags: bool = False


@st.composite
def grid_meshes(draw: st.DrawFn, cell: str, options: Options) -> Mesh:
    """Jittered grids of one cell type, or of several: "mixed2" (2D) and "mixed3" (3D)."""
    d = 3 if cell == "mixed3" else 2 if cell == "mixed2" else CELL_TYPES[cell].dim
    counts = [draw(st.integers(options.min_cells, options.max_cells)) for _ in range(d)]
    return random_mesh(
        cell,
        counts,
        seed=draw(st.integers(0, 2**32 - 1)),
        jitter=draw(st.floats(0.0, options.jitter)),
        stretch=draw(st.floats(1.0, options.stretch)),
        hole=options.holes and draw(st.booleans()),
        tags=options.tags,
    )


@st.composite
def delaunay_meshes(draw: st.DrawFn, d: int, options: Options) -> Mesh:
    """Delaunay meshes of jittered points in a square or a cube."""
    counts = [draw(st.integers(options.min_cells, options.max_cells)) for _ in range(d)]
    return random_delaunay(
        counts,
        seed=draw(st.integers(0, 2**32 - 1)),
        stretch=draw(st.floats(1.0, options.stretch)),
        hole=options.holes and d == 2 and draw(st.booleans()),
        tags=options.tags,
    )


def line_meshes(**options: object) -> st.SearchStrategy[Mesh]:
    """Intervals of lines; keywords as `Options`."""
    return grid_meshes("line", Options(**{"holes": False, **options}))  # type: ignore[arg-type]


def triangle_meshes(**options: object) -> st.SearchStrategy[Mesh]:
    """Triangles in 2D, jittered grids or Delaunay; keywords as `Options`."""
    chosen = Options(**options)  # type: ignore[arg-type]
    return st.one_of(grid_meshes("triangle", chosen), delaunay_meshes(2, chosen))


def tetra_meshes(**options: object) -> st.SearchStrategy[Mesh]:
    """Tetrahedra, jittered grids or Delaunay; keywords as `Options`."""
    chosen = Options(**{"max_cells": 3, **options})  # type: ignore[arg-type]
    return st.one_of(grid_meshes("tetra", chosen), delaunay_meshes(3, chosen))


def quad_meshes(**options: object) -> st.SearchStrategy[Mesh]:
    """Quads in 2D; keywords as `Options`."""
    return grid_meshes("quad", Options(**options))  # type: ignore[arg-type]


def hexahedron_meshes(**options: object) -> st.SearchStrategy[Mesh]:
    """Hexahedra; keywords as `Options`."""
    return grid_meshes("hexahedron", Options(**{"max_cells": 3, **options}))  # type: ignore[arg-type]


def wedge_meshes(**options: object) -> st.SearchStrategy[Mesh]:
    """Wedges; keywords as `Options`."""
    return grid_meshes("wedge", Options(**{"max_cells": 3, **options}))  # type: ignore[arg-type]


def pyramid_meshes(**options: object) -> st.SearchStrategy[Mesh]:
    """Pyramids, six to a box; keywords as `Options`."""
    return grid_meshes("pyramid", Options(**{"max_cells": 3, **options}))  # type: ignore[arg-type]


def mixed_meshes(**options: object) -> st.SearchStrategy[Mesh]:
    """Triangles with quads, or hexahedra with wedges, pyramids and tetrahedra."""
    flat = Options(**options)  # type: ignore[arg-type]
    solid = Options(**{"max_cells": 3, **options})  # type: ignore[arg-type]
    return st.one_of(grid_meshes("mixed2", flat), grid_meshes("mixed3", solid))


def any_meshes(**options: object) -> st.SearchStrategy[Mesh]:
    """Any of the above in 2D and 3D; keywords as `Options`."""
    return st.one_of(
        triangle_meshes(**options),
        quad_meshes(**options),
        tetra_meshes(**options),
        hexahedron_meshes(**options),
        wedge_meshes(**options),
        pyramid_meshes(**options),
        mixed_meshes(**options),
    )


# -- plain functions ---------------------------------------------------------------------------


def random_mesh(
    cell: str,
    counts: Sequence[int],
    seed: int = 0,
    *,
    jitter: float = 0.25,
    stretch: float = 1.0,
    hole: bool = False,
    tags: bool = False,
    shuffle: bool = True,
) -> Mesh:
    """A jittered grid of `counts` boxes.

    Args:
        cell: a cell type, "mixed2" or "mixed3".
        counts: boxes along each axis; their number is the dimension.
        seed: of everything random.
        jitter, stretch, hole, tags: see `Options`.
        shuffle: number nodes and cells at random, and map by a random affine map; else the mesh
            fills the unit box.
    """
    rng = np.random.default_rng(seed)
    grid, boxes = _grid(counts)
    if hole and min(counts) >= 3:
        boxes = boxes[~_inner_block(counts, rng)]
    pos, blocks = _cut(cell, grid, boxes, rng)
    pos, blocks = _without_orphans(pos, blocks)
    spacing = 1 / np.array(counts)
    shift = jitter * spacing * rng.uniform(-1, 1, pos.shape)
    shift[(pos == 0) | (pos == 1)] = 0
    return _finished(_jittered(pos, shift, blocks), pos, blocks, rng, stretch, tags, shuffle)


def random_delaunay(
    counts: Sequence[int],
    seed: int = 0,
    *,
    stretch: float = 1.0,
    hole: bool = False,
    tags: bool = False,
    shuffle: bool = True,
) -> Mesh:
    """The Delaunay mesh of random points in the unit box; arguments as `random_mesh`."""
    rng = np.random.default_rng(seed)
    pos, _ = _grid(counts)
    spacing = 1 / np.array(counts)
    shift = 0.45 * spacing * rng.uniform(-1, 1, pos.shape)
    shift[(pos == 0) | (pos == 1)] = 0
    pos = pos + shift
    cells = np.asarray(Delaunay(pos).simplices, np.int64)
    size = np.linalg.det(pos[cells[:, 1:]] - pos[cells[:, :1]])
    cells[size < 0] = cells[size < 0][:, [1, 0, *range(2, len(counts) + 1)]]
    cells = cells[np.abs(size) > 1e-9 * np.prod(spacing)]  # the sides give flat ones
    if hole and min(counts) >= 3:
        centre = pos[cells].mean(axis=1)
        cells = cells[np.abs(centre - 0.5).max(axis=1) > 0.2]
    pos, blocks = _without_orphans(pos, [("triangle" if len(counts) == 2 else "tetra", cells)])
    return _finished(pos, pos, blocks, rng, stretch, tags, shuffle)


def random_affine(rng: np.random.Generator, d: int, stretch: float) -> Floats:
    """A matrix `[d, d]` of positive determinant with singular values in [1, stretch]."""
    left, right = (np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(2))
    matrix = left @ np.diag(rng.uniform(1, stretch, d)) @ right
    matrix[0] *= np.sign(np.linalg.det(matrix))
    return np.asarray(matrix)


def renumbered(mesh: Mesh, seed: int) -> tuple[Mesh, torch.Tensor, torch.Tensor]:
    """The same mesh with other numbers, without tags and fields.

    Returns:
        The mesh, the new number of each old node, and the old index of each new cell.
    """
    blocks = [(name, nodes.numpy()) for name, nodes in mesh.cells.items()]
    given = torch.cat(list(mesh.cell_ids.values()))
    pos, blocks, node, cell = _shuffled(mesh.pos.numpy(), blocks, np.random.default_rng(seed))
    return Mesh.from_cells(pos, blocks), torch.from_numpy(node), given[torch.from_numpy(cell)]


# -- parts -------------------------------------------------------------------------------------


def _grid(counts: Sequence[int]) -> tuple[Floats, Ints]:
    """Nodes of a grid of the unit box, x fastest, and its boxes in VTK's order `[k, 2^d]`."""
    axes = [np.linspace(0, 1, n + 1) for n in counts]
    pos = np.stack([x.ravel(order="F") for x in np.meshgrid(*axes, indexing="ij")], axis=1)
    number = np.arange(len(pos)).reshape([n + 1 for n in counts], order="F")
    corners = {
        1: [(0,), (1,)],
        2: [(0, 0), (1, 0), (1, 1), (0, 1)],
        3: [(*c, k) for k in (0, 1) for c in ((0, 0), (1, 0), (1, 1), (0, 1))],
    }[len(counts)]
    boxes = [
        number[tuple(slice(i, i + n) for i, n in zip(c, counts, strict=True))].ravel(order="F")
        for c in corners
    ]
    return pos, np.stack(boxes, axis=1)


def _inner_block(counts: Sequence[int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Boxes of a random block that does not touch the sides."""
    inside = np.ones(list(counts), bool)
    for axis, n in enumerate(counts):
        low = rng.integers(1, n - 1)
        index = np.arange(n).reshape([-1 if k == axis else 1 for k in range(len(counts))])
        inside = inside & (index >= low) & (index < rng.integers(low + 1, n))
    return inside.ravel(order="F")


def _cut(cell: str, pos: Floats, boxes: Ints, rng: np.random.Generator) -> tuple[Floats, Blocks]:
    if cell == "triangle":
        return pos, [("triangle", _split_quads(boxes, rng))]
    if cell == "tetra":
        return pos, [("tetra", boxes[:, list(_KUHN)].reshape(-1, 4))]
    if cell == "wedge":
        return pos, [("wedge", _split_columns(boxes))]
    if cell == "pyramid":
        pos, pyramids = _split_to_centres(pos, boxes)
        return pos, [("pyramid", pyramids)]
    if cell == "mixed2":
        split = rng.random(len(boxes)) < 0.5
        split[0], split[-1] = True, False
        return pos, [("quad", boxes[~split]), ("triangle", _split_quads(boxes[split], rng))]
    if cell == "mixed3":
        return _cut_mixed(pos, boxes, rng)
    return pos, [(cell, boxes)]


def _split_quads(quads: Ints, rng: np.random.Generator) -> Ints:
    quads = np.where(rng.random((len(quads), 1)) < 0.5, quads, np.roll(quads, 1, axis=1))
    return quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)


def _split_columns(boxes: Ints) -> Ints:
    return boxes[:, [[0, 1, 2, 4, 5, 6], [0, 2, 3, 4, 6, 7]]].reshape(-1, 6)


def _split_to_centres(pos: Floats, boxes: Ints) -> tuple[Floats, Ints]:
    inward = [facet[::-1] for facet in CELL_TYPES["hexahedron"].facets]
    centre = len(pos) + np.arange(len(boxes))
    pyramids = np.concatenate(
        [boxes[:, inward], np.broadcast_to(centre[:, None, None], (len(boxes), 6, 1))], axis=2
    )
    return np.concatenate([pos, pos[boxes].mean(axis=1)]), pyramids.reshape(-1, 5)


def _cut_mixed(pos: Floats, boxes: Ints, rng: np.random.Generator) -> tuple[Floats, Blocks]:
    """Columns of wedges, hexahedra, and boxes of pyramids with tetrahedra at the sides."""
    column = np.unique(pos[boxes[:, 0], :2], axis=0, return_inverse=True)[1].ravel()
    kind = rng.integers(0, 3, column.max() + 1)[column]  # 0 wedges, 1 hexahedra, 2 pyramids
    wedges, hexahedra = _split_columns(boxes[kind == 0]), boxes[kind == 1]
    pos, pyramids = _split_to_centres(pos, boxes[kind == 2])
    base = pos[pyramids[:, :4]]
    outer = ((base == 0).all(axis=1) | (base == 1).all(axis=1)).any(axis=1)
    outer &= rng.random(len(outer)) < 0.5
    tetra = pyramids[outer][:, [[0, 1, 2, 4], [0, 2, 3, 4]]].reshape(-1, 4)
    blocks = [
        ("wedge", wedges),
        ("hexahedron", hexahedra),
        ("pyramid", pyramids[~outer]),
        ("tetra", tetra),
    ]
    return pos, [(name, nodes) for name, nodes in blocks if len(nodes)]


def _without_orphans(pos: Floats, blocks: Blocks) -> tuple[Floats, Blocks]:
    used = np.zeros(len(pos), bool)
    for _, nodes in blocks:
        used[nodes] = True
    new = np.cumsum(used) - 1
    return pos[used], [(name, new[nodes]) for name, nodes in blocks]


def _jittered(pos: Floats, shift: Floats, blocks: Blocks) -> Floats:
    """Shifted nodes; the shift is halved until no corner of a cell loses 0.9 of its Jacobian."""
    for _ in range(10):
        good = True
        for name, nodes in blocks:
            corners = nodes[:, list(CELL_TYPES[name].corners)]
            before, after = (
                np.linalg.det(x[corners[..., 1:]] - x[corners[..., :1]]) for x in (pos, pos + shift)
            )
            good &= bool((after > 0.1 * before).all())
        if good:
            return pos + shift
        shift = shift / 2
    return pos


def _shuffled(
    pos: Floats, blocks: Blocks, rng: np.random.Generator
) -> tuple[Floats, Blocks, Ints, Ints]:
    """Random numbers of nodes and cells: new number of each node, old index of each cell."""
    node = rng.permutation(len(pos))
    rows = [(name, node[row]) for name, nodes in blocks for row in nodes]
    cell = rng.permutation(len(rows))
    shuffled = np.empty_like(pos)
    shuffled[node] = pos
    return shuffled, [(rows[c][0], rows[c][1][None]) for c in cell], node, cell


def _finished(
    pos: Floats,
    unit: Floats,
    blocks: Blocks,
    rng: np.random.Generator,
    stretch: float,
    tags: bool,
    shuffle: bool,
) -> Mesh:
    """The mesh, mapped, numbered and tagged; `unit` has the nodes before jitter."""
    if shuffle:
        d = pos.shape[1]
        pos, blocks, node, _ = _shuffled(pos, blocks, rng)
        place = np.empty_like(unit)
        place[node] = unit
        unit = place
        pos = pos @ random_affine(rng, d, stretch).T + rng.uniform(-1, 1, d)
    mesh = Mesh.from_cells(pos, blocks)
    if not tags:
        return mesh
    low = mesh.moved(unit).centroids()[:, 0] < 0.5
    cell_tags = {"low": torch.nonzero(low).squeeze(1), "high": torch.nonzero(~low).squeeze(1)}
    return Mesh.from_cells(
        pos,
        blocks,
        facet_tags=_side_tags(mesh, torch.from_numpy(unit)),
        cell_tags={name: cells for name, cells in cell_tags.items() if len(cells)},
    )


def _side_tags(mesh: Mesh, unit: torch.Tensor) -> dict[str, torch.Tensor]:
    """Boundary facets by the side of the unit box they lie on; the others are the hole's."""
    nodes = mesh.topology.facets[mesh.topology.boundary_facets]
    rest, found = torch.ones(len(nodes), dtype=torch.bool), {}
    for axis in range(mesh.dim):
        names = SIDES[axis] if mesh.dim == 3 else (SIDES[0], SIDES[2])[axis]
        for name, end in zip(names, (0.0, 1.0), strict=True):
            on = (unit[nodes][:, :, axis] == end).all(dim=1)
            found[name] = nodes[on]
            rest &= ~on
    if bool(rest.any()):
        found["hole"] = nodes[rest]
    return found
