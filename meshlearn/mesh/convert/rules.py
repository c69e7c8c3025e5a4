"""From the blocks, sets and arrays of a mesh file to a `Mesh`: the one place with the rules.

- The cells of highest dimension are the cells. Those one dimension below are facets: named or
  numbered ones become facet tags; the others leave quietly where they are only boundary skin.
- A group without a name gets its number as name: physical id 7 is the tag "7".
- Vertex cells become point tags (in a line mesh, where a point is a facet, facet tags); so do
  tagged lines in a volume mesh, with a `LossWarning`.
- Higher-order cells are reduced to their corners, with a `LossWarning`.
- Trailing coordinates that are zero at all nodes are dropped, down to the dimension of the cells.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import meshio
import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import MeshError
from ..mesh import Mesh
from ..validate import CHECKS
from .arrays import Array, IntArray
from .straight import Block, straighten

REFERENCES = ("gmsh:physical", "medit:ref", "nastran:ref", "su2:tag", "flac3d:group", "cell_tags")
"""Integer arrays that stand for tags in meshio meshes."""

FACET_FIELDS = "meshlearn:facet_fields"
"""Entry of `meshio.Mesh.info`: `(nodes of the facets [n_facets, w], {name: values})`."""

FACET_TAGS = "meshlearn:facet_tags"
"""Entry of `info`: `{tag: nodes [k, w]}`, for sources that need no cells of lower dimension."""

EMPTY_CELL_TAGS = "meshlearn:empty_cell_tags"
EMPTY_FACET_TAGS = "meshlearn:empty_facet_tags"
"""Entries of `info`: names of tags without members, of which no set tells the kind."""

DEFER_ABOVE = 200_000
"""Cells of a file above which geometry and connectivity are checked at the first use."""

IMMEDIATE = {"nonfinite", "orphan"}
"""Checks that cost less than reading; the others are those that can wait."""

_NOT_FIELDS = {*REFERENCES, "gmsh:dim_tags", "gmsh:geometrical", "point_tags"}
_NOT_TAGS = {"gmsh:bounding_entities"}


def build(
    m: meshio.Mesh,
    lost: list[str],
    *,
    allow: Collection[str] = (),
    repair: Collection[str] = (),
    defer: bool = False,
) -> Mesh:
    """Apply the rules of this module.

    Args:
        m: blocks of any dimension in any order; tags as `cell_sets`, `point_sets` or integer
            arrays named in `REFERENCES`.
        lost: extended with what a `Mesh` cannot hold.
        allow: checks of `Mesh.from_cells` that do not raise.
        repair: defects that `Mesh.from_cells` mends first.
        defer: above `DEFER_ABOVE` cells, leave the costly checks to the first use of the mesh.
    """
    blocks, keep = straighten(m, lost)
    cell_dim = max((block.dim for block in blocks), default=0)
    if cell_dim == 0:
        raise MeshError("there are no cells")
    main = [block for block in blocks if block.dim == cell_dim]
    sets = _cell_sets(m)
    info = m.info if isinstance(m.info, Mapping) else {}
    facet_tags, untagged = _facet_tags(blocks, sets, cell_dim)
    facet_tags |= info.get(FACET_TAGS, {})
    cell_tags = _cell_tags(main, sets)
    point_tags = _point_tags(m, blocks, sets, cell_dim, lost)
    kinds = {cell_dim: cell_tags, cell_dim - 1: facet_tags}
    for tag, dim in _empty_tags(m.field_data, sets, info, cell_dim):
        kinds.get(dim, point_tags).setdefault(tag, np.empty(0, np.int64))
    points = np.asarray(m.points)
    node_fields = {k: np.asarray(v) for k, v in m.point_data.items() if k not in _NOT_FIELDS}
    cells = [(block.type, block.nodes) for block in main]
    if keep is not None:
        new = np.cumsum(keep) - 1
        points = points[keep]
        cells = [(name, new[nodes]) for name, nodes in cells]
        facet_tags = {name: new[nodes] for name, nodes in facet_tags.items()}
        point_tags = {name: new[nodes[keep[nodes]]] for name, nodes in point_tags.items()}
        node_fields = {name: values[keep] for name, values in node_fields.items()}
        untagged = [new[nodes] for nodes in untagged]
    late = defer and sum(len(nodes) for _, nodes in cells) > DEFER_ABOVE
    mesh = Mesh.from_cells(
        _trim(points, cell_dim),
        cells,
        facet_tags=facet_tags,
        cell_tags=cell_tags,
        point_tags=point_tags,
        node_fields=_numeric(node_fields, "node", lost),
        cell_fields=_numeric(_cell_fields(m, main, blocks, lost), "cell", lost),
        allow=tuple(CHECKS.keys() - IMMEDIATE) if late else allow,
        repair=repair,
    )
    if late:
        mesh.__dict__["_pending_checks"] = tuple(allow)
    if keep is None:
        _set_facet_fields(mesh, info)
    _note_inner(mesh, untagged, lost)
    return mesh


def _trim(points: Array, cell_dim: int) -> NDArray[np.float64]:
    dim = points.shape[1]
    while dim > cell_dim and not points[:, dim - 1].any():
        dim -= 1
    return np.ascontiguousarray(points[:, :dim], dtype=np.float64)


def _cell_sets(m: meshio.Mesh) -> dict[str, dict[int, IntArray]]:
    """Members of every named or numbered group: `{name: {block index: rows}}`."""
    sets: dict[str, dict[int, IntArray]] = {}
    for name, per_block in m.cell_sets.items():
        if name not in _NOT_TAGS:
            rows = ((i, r) for i, r in enumerate(per_block) if r is not None)
            sets[name] = {i: np.asarray(r).astype(np.int64) for i, r in rows}
    names = {
        (int(value[1]), int(value[0])): name
        for name, value in m.field_data.items()
        if np.size(value) == 2
    }
    for key in REFERENCES:
        for i, values in enumerate(m.cell_data.get(key, ())):
            if np.asarray(values).dtype.kind not in "iu":
                continue
            for number in np.unique(values):
                name = names.get((m.cells[i].dim, int(number)), str(number))
                if number != 0 and i not in sets.get(name, {}):
                    sets.setdefault(name, {})[i] = np.flatnonzero(values == number)
    return sets


def _cell_tags(
    main: list[Block], sets: Mapping[str, Mapping[int, IntArray]]
) -> dict[str, IntArray]:
    starts = np.cumsum([0, *(len(block.nodes) for block in main)])[:-1]
    tags = {}
    for name, rows in sets.items():
        parts = [rows[b.index] + s for b, s in zip(main, starts, strict=True) if b.index in rows]
        if any(len(part) for part in parts):
            tags[name] = np.concatenate(parts)
    return tags


def _empty_tags(
    field_data: Mapping[str, Any],
    sets: Mapping[str, Mapping[int, IntArray]],
    info: Mapping[str, Any],
    cell_dim: int,
) -> list[tuple[str, int]]:
    """Names of tags without members, and the dimension that `field_data` or `info` gives them."""
    empty = [
        (name, int(field_data[name][1]))
        for name, rows in sets.items()
        if name in field_data and not any(len(r) for r in rows.values())
    ]
    empty += [(name, cell_dim) for name in info.get(EMPTY_CELL_TAGS, ())]
    return empty + [(name, cell_dim - 1) for name in info.get(EMPTY_FACET_TAGS, ())]


def _facet_tags(
    blocks: list[Block], sets: Mapping[str, Mapping[int, IntArray]], cell_dim: int
) -> tuple[dict[str, IntArray], list[IntArray]]:
    """Tagged facets by name, and the nodes of the untagged ones."""
    facets = [block for block in blocks if block.dim == cell_dim - 1]
    width = max((block.nodes.shape[1] for block in facets), default=0)
    tags: dict[str, list[IntArray]] = {}
    untagged = []
    for block in facets:
        missing = width - block.nodes.shape[1]
        nodes = np.concatenate([block.nodes, np.repeat(block.nodes[:, -1:], missing, 1)], axis=1)
        free = np.ones(len(nodes), bool)
        for name, rows in sets.items():
            if len(rows.get(block.index, ())):
                tags.setdefault(name, []).append(nodes[rows[block.index]])
                free[rows[block.index]] = False
        if free.any() and cell_dim > 1:
            untagged.append(nodes[free])
    return {name: np.concatenate(parts) for name, parts in tags.items()}, untagged


def _point_tags(
    m: meshio.Mesh,
    blocks: list[Block],
    sets: Mapping[str, Mapping[int, IntArray]],
    cell_dim: int,
    lost: list[str],
) -> dict[str, IntArray]:
    tags: dict[str, list[IntArray]] = {
        name: [np.asarray(nodes).astype(np.int64)] for name, nodes in m.point_sets.items()
    }
    for block in blocks:
        if block.dim >= cell_dim - 1:
            continue
        for name, rows in sets.items():
            if len(rows.get(block.index, ())):
                nodes = block.nodes[rows[block.index]]
                tags.setdefault(name, []).append(
                    nodes[:, 0] if block.dim == 0 else np.unique(nodes)
                )
                if block.dim == 1:
                    lost.append(f"the lines of {name!r} (their nodes are kept as a point tag)")
    for key in REFERENCES:
        values = np.asarray(m.point_data.get(key, np.empty(0)))
        numbers = np.unique(values) if values.dtype.kind in "iu" else values[:0]
        if len(numbers) > 1:  # one number for all nodes says nothing
            for number in numbers[numbers != 0]:
                tags.setdefault(str(number), []).append(np.flatnonzero(values == number))
    return {
        name: parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))
        for name, parts in tags.items()
    }


def _cell_fields(
    m: meshio.Mesh, main: list[Block], blocks: list[Block], lost: list[str]
) -> dict[str, Array]:
    fields = {}
    chosen = [block.index for block in main]
    others = [block.index for block in blocks if block.index not in chosen]
    for name, data in m.cell_data.items():
        if name in _NOT_FIELDS:
            continue
        parts = [np.asarray(data[i]) for i in chosen]
        if len({part.shape[1:] for part in parts}) > 1:
            lost.append(f"cell field {name!r} (its shape differs between cell types)")
            continue
        fields[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if any(_has_values(np.asarray(data[i])) for i in others):
            lost.append(f"the values of {name!r} on cells of lower dimension")
    return fields


def _has_values(values: Array) -> bool:
    if values.dtype.kind not in "biufc":
        return bool(values.size)
    return bool(np.any((values != 0) & (values == values)))


def _numeric(fields: dict[str, Array], kind: str, lost: list[str]) -> dict[str, Array]:
    """Copies of the fields that a tensor can hold; text and objects are lost."""
    kept = {}
    for name, values in fields.items():
        if values.dtype.kind not in "biufc":
            lost.append(f"{kind} field {name!r} (not numbers)")
        elif values.dtype.kind == "u" and values.dtype.itemsize > 1:
            kept[name] = values.astype(np.int64)
        else:
            kept[name] = values.astype(values.dtype.newbyteorder("="), order="C")
    return kept


def _set_facet_fields(mesh: Mesh, info: Mapping[str, Any]) -> None:
    if FACET_FIELDS not in info:
        return
    nodes, fields = info[FACET_FIELDS]
    ids = mesh.topology.find_facets(torch.as_tensor(np.asarray(nodes, dtype=np.int64)))
    order = torch.argsort(ids)
    for name, values in fields.items():
        mesh.set_field(name, torch.as_tensor(np.asarray(values))[order], "facet")


def _note_inner(mesh: Mesh, untagged: list[IntArray], lost: list[str]) -> None:
    """Name untagged lower-dimensional cells that are more than boundary skin."""
    for nodes in untagged:
        if not len(nodes):
            continue
        try:
            ids = mesh.topology.find_facets(torch.as_tensor(nodes))
        except MeshError:
            lost.append("untagged cells of lower dimension that are not facets of any cell")
            continue
        inner = int((mesh.topology.facet_cells[ids, 1] >= 0).sum())
        if inner:
            lost.append(f"{inner} untagged facets inside the domain")
