"""`Mesh` <-> `meshio.Mesh`.

Cells come first, in canonical order; each tagged facet follows once, as a cell of lower dimension.
Cell and facet tags are `cell_sets`, point tags are `point_sets`. Cell fields are NaN (0 for
integers) on the facets. Facet fields, which meshio has no place for, travel in `info`.
"""

from __future__ import annotations

from collections.abc import Collection

import meshio
import numpy as np

from ..mesh import Mesh
from .arrays import IntArray, as_numpy, cell_blocks, fields_of, points3, tags_of, unique_facets
from .losses import warn_lost
from .rules import EMPTY_CELL_TAGS, EMPTY_FACET_TAGS, FACET_FIELDS, build


def from_meshio(
    m: meshio.Mesh, *, allow: Collection[str] = (), repair: Collection[str] = ()
) -> Mesh:
    """Make a `Mesh` by the rules of `meshlearn.mesh.convert.rules`.

    Args:
        m: the mesh; physical groups of gmsh, `cell_sets` and `point_sets` become tags.
        allow: checks of `Mesh.from_cells` that do not raise.
        repair: defects that are mended first.

    Raises:
        MeshError: the mesh is not usable.
    """
    lost: list[str] = []
    mesh = build(m, lost, allow=allow, repair=repair)
    warn_lost("from_meshio", lost)
    return mesh


def to_meshio(mesh: Mesh) -> meshio.Mesh:
    """The mesh as a `meshio.Mesh` with three coordinates; `from_meshio` gives it back."""
    blocks: list[tuple[str, IntArray]] = cell_blocks(mesh)
    sizes = [len(nodes) for _, nodes in blocks]
    facets, members = unique_facets(mesh)
    extra = list(facets.items())
    starts = np.cumsum([0, *sizes])
    none = np.empty(0, np.int64)
    cell_sets: dict[str, list[IntArray]] = {}
    for name, ids in tags_of(mesh, "cell").items():
        owner = np.searchsorted(starts, ids, side="right") - 1
        parts = [ids[owner == i] - starts[i] for i in range(len(blocks))]
        cell_sets[name] = parts + [none] * len(extra)
    for name, rows in members.items():
        per_block = cell_sets.setdefault(name, [none] * (len(blocks) + len(extra)))
        for i, (kind, _) in enumerate(extra):
            per_block[len(blocks) + i] = rows.get(kind, none)
    cell_data = {}
    for name, values in fields_of(mesh, "cell").items():
        fill = np.nan if values.dtype.kind in "fc" else 0
        pads = [np.full((len(nodes), *values.shape[1:]), fill, values.dtype) for _, nodes in extra]
        cell_data[name] = np.split(values.copy(), starts[1:-1]) + pads
    info: dict[str, object] = {
        EMPTY_CELL_TAGS: [tag for tag, ids in mesh.cell_tags.items() if not len(ids)],
        EMPTY_FACET_TAGS: [tag for tag, nodes in mesh.facet_tags.items() if not len(nodes)],
    }
    facet_fields = fields_of(mesh, "facet")
    if facet_fields:
        info[FACET_FIELDS] = (as_numpy(mesh.topology.facets), facet_fields)
    return meshio.Mesh(
        points3(mesh),
        blocks + extra,
        point_data={name: values.copy() for name, values in fields_of(mesh, "node").items()},
        cell_data=cell_data,
        point_sets=tags_of(mesh, "point"),
        cell_sets=cell_sets,
        info=info,
    )
