"""A `Mesh` as the arrays that VTK and XDMF understand, with nothing lost.

The cells are in canonical order, so that ParaView shows a clean mesh and cell arrays have one value
per cell. What VTK and XDMF have no place for is encoded beside them:

- `tag:<name>` as a cell (node) array of 0 and 1 is a cell (point) tag, to colour or threshold by.

Arrays of their own lengths, which VTK calls field data:

- `cell_tag:<name>`, `point_tag:<name>`: members `[k]`, for tags that are not sorted;
- `facet_tag:<name>`: nodes of the tagged facets `[k, nodes per facet]`;
- `facets` with `facet_field:<name>`: nodes of all facets, and the values there;
- `shape:<node|cell|facet>:<name>`: trailing shape of a field that is not `[n]` or `[n, 2..]`, e.g.
  (3, 3) for a tensor, which VTK stores in rows of 9;
- `bool:<node|cell|facet>:<name>`: the field is of booleans;
- `meshlearn`: version of this encoding. Without it arrays are taken as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import meshio
import numpy as np
from numpy.typing import NDArray

from ..errors import MeshError
from ..mesh import Mesh
from .arrays import Array, IntArray, as_numpy, fields_of, points3, tags_of
from .rules import EMPTY_CELL_TAGS, FACET_FIELDS, FACET_TAGS

VERSION = 1


@dataclass
class Encoded:
    """Arrays of a mesh.

    Attributes:
        points: `[n, 3]`.
        code: type of each cell, position in `cells.NAMES` `[n_cells]`.
        nodes: nodes of all cells, one after the other.
        node: arrays `[n, ...]`.
        cell: arrays `[n_cells, ...]`.
        extra: arrays of any length.
    """

    points: NDArray[np.float64]
    code: NDArray[np.uint8]
    nodes: IntArray
    node: dict[str, Array] = field(default_factory=dict)
    cell: dict[str, Array] = field(default_factory=dict)
    extra: dict[str, Array] = field(default_factory=dict)


def encode(mesh: Mesh, lost: list[str]) -> Encoded:
    """The arrays of `mesh`; names of complex fields, which are left out, are added to `lost`."""
    out = Encoded(points3(mesh), as_numpy(mesh["cell_type"]), as_numpy(mesh["cell_index"]))
    out.extra["meshlearn"] = np.array([VERSION])
    facet: dict[str, Array] = {}
    for kind, target in (("node", out.node), ("cell", out.cell), ("facet", facet)):
        for name, values in fields_of(mesh, kind).items():
            if values.dtype.kind == "c":
                lost.append(f"{kind} field {name!r} (complex)")
            else:
                target[name] = _plain(values, f"{kind}:{name}", out.extra)
    if facet:
        out.extra["facets"] = as_numpy(mesh.topology.facets)
        out.extra |= {f"facet_field:{name}": values for name, values in facet.items()}
    for kind, target, n in (("point", out.node, len(mesh.pos)), ("cell", out.cell, mesh.num_cells)):
        for name, members in tags_of(mesh, kind).items():
            if (np.diff(members) > 0).all():
                target[f"tag:{name}"] = np.bincount(members, minlength=n).astype(np.uint8)
            else:
                out.extra[f"{kind}_tag:{name}"] = members
    for name, nodes in mesh.facet_tags.items():
        out.extra[f"facet_tag:{name}"] = as_numpy(nodes)
    return out


def _plain(values: Array, name: str, extra: dict[str, Array]) -> Array:
    """Numbers `[n]` or `[n, 2..]`; what differs is noted in `extra`."""
    if values.dtype == bool:
        extra[f"bool:{name}"] = np.ones(1, np.int8)
        values = values.astype(np.uint8)
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    if values.ndim > 2 or values.shape[1:] == (1,):
        extra[f"shape:{name}"] = np.array(values.shape[1:])
        return values.reshape(len(values), -1)
    return values


def decode(
    points: Array,
    blocks: list[tuple[str, IntArray]],
    node: dict[str, Array],
    cell: dict[str, Array],
    extra: dict[str, Array],
) -> meshio.Mesh:
    """Blocks, sets and fields for `rules.build`.

    Args:
        points: `[n, 1..3]`.
        blocks: runs of cells of one type.
        node, cell, extra: as in `Encoded`; without `extra["meshlearn"]` all arrays are fields.
    """
    version = int(np.ravel(extra.get("meshlearn", 0))[0])
    if version > VERSION:
        raise MeshError(
            f"it was written by a newer meshlearn (encoding {version}); update meshlearn"
        )
    cuts = np.cumsum([len(nodes) for _, nodes in blocks])[:-1]
    tags = (
        {"node": {}, "cell": {}}
        if version == 0
        else {
            kind: {name[4:]: np.flatnonzero(v) for name, v in arrays.items() if name[:4] == "tag:"}
            for kind, arrays in (("node", node), ("cell", cell))
        }
    )
    fields = {
        kind: {
            name: _shaped(values, f"{kind}:{name}", extra)
            for name, values in arrays.items()
            if not (version and name.startswith("tag:"))
        }
        for kind, arrays in (("node", node), ("cell", cell))
    }
    cell_data = {name: np.split(values, cuts) for name, values in fields["cell"].items()}
    m = meshio.Mesh(points, list(blocks), point_data=fields["node"], cell_data=cell_data)
    if version == 0:
        return m
    facet_tags = {}
    for name, values in extra.items():
        kind, _, tag = name.partition(":")
        if kind == "cell_tag":
            tags["cell"][tag] = np.ravel(values)
        elif kind == "point_tag":
            tags["node"][tag] = np.ravel(values)
        elif kind == "facet_tag":
            facet_tags[tag] = values if values.ndim == 2 else values[:, None]
    m.point_sets = tags["node"]
    m.info = {
        FACET_TAGS: facet_tags,
        EMPTY_CELL_TAGS: [tag for tag, members in tags["cell"].items() if not len(members)],
    }
    starts = np.r_[0, cuts].astype(np.int64)
    for tag, members in tags["cell"].items():
        owner = np.searchsorted(starts, members, side="right") - 1
        m.cell_sets[tag] = [members[owner == i] - start for i, start in enumerate(starts)]
    facet_fields = {
        name.partition(":")[2]: _shaped(values, name.replace("_field", "", 1), extra)
        for name, values in extra.items()
        if name.startswith("facet_field:")
    }
    if facet_fields:
        facets = extra["facets"]
        m.info[FACET_FIELDS] = (facets if facets.ndim == 2 else facets[:, None], facet_fields)
    return m


def _shaped(values: Array, name: str, extra: dict[str, Array]) -> Array:
    shape = extra.get(f"shape:{name}")
    if f"bool:{name}" in extra:
        values = values.astype(bool)
    return values if shape is None else values.reshape(len(values), *np.ravel(shape))
