"""Building a mesh from positions, cells and tags: the checks without which nothing makes sense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from . import tags
from .cells import CELL_TYPES, CODES
from .errors import MeshError

if TYPE_CHECKING:
    from .mesh import Mesh


def assemble(
    cls: type[Mesh], pos: Any, cells: Mapping[str, Any] | Sequence[tuple[str, Any]]
) -> Mesh:
    """Positions and connectivity, with the checks without which nothing else makes sense."""
    position = tags.as_tensor(pos, "pos").to(torch.float64)
    if position is pos or isinstance(pos, np.ndarray):
        position = position.clone()  # the caller may write into his own array later
    if position.dim() != 2 or position.shape[1] not in (1, 2, 3):
        raise MeshError(f"pos must be [n_nodes, 1, 2 or 3], got shape {list(position.shape)}")
    blocks = list(cells.items()) if isinstance(cells, Mapping) else list(cells)
    index, types = [], []
    for name, block in blocks:
        if name not in CELL_TYPES:
            raise MeshError(f"unknown cell type {name!r}; known are {', '.join(CELL_TYPES)}")
        nodes = tags.as_index_tensor(block, f"cells of type {name!r}")
        if nodes.numel() and (nodes.dim() != 2 or nodes.shape[1] != CELL_TYPES[name].num_nodes):
            raise MeshError(
                f"cells of type {name!r} must be [k, {CELL_TYPES[name].num_nodes}], "
                f"got {list(nodes.shape)}"
            )
        index.append(nodes.reshape(-1))
        count = nodes.numel() // CELL_TYPES[name].num_nodes
        types.append(torch.full((count,), CODES[name], dtype=torch.uint8))
    if not len(position) or not sum(len(t) for t in types):
        raise MeshError(
            f"the mesh is empty: {len(position)} nodes and {sum(len(t) for t in types)} cells"
        )
    dims = {CELL_TYPES[name].dim for (name, _), t in zip(blocks, types, strict=True) if len(t)}
    if len(dims) > 1 or max(dims) > position.shape[1]:
        raise MeshError(
            f"cells of dimension {sorted(dims)} in {position.shape[1]}D: all cells must have "
            "one dimension, not above that of the space (give facets as facet_tags)"
        )
    cell_index = torch.cat(index)
    outside = (cell_index < 0) | (cell_index >= len(position))
    if outside.any():
        bad = int(outside.nonzero()[0])
        counts = [CELL_TYPES[name].num_nodes for name, _ in blocks]
        sizes = [torch.full((len(t),), count) for t, count in zip(types, counts, strict=True)]
        cell = int(torch.searchsorted(torch.cat(sizes).cumsum(0), bad, right=True))
        raise MeshError(
            f"cell {cell} names node {int(cell_index[bad])}, but there are {len(position)} "
            f"nodes (0 to {len(position) - 1}); {int(outside.sum())} such entries in all"
        )
    mesh = cls()
    mesh["pos"] = position
    mesh["cell_index"] = cell_index
    mesh["cell_type"] = torch.cat(types)
    mesh["field_kinds_"] = ()
    return mesh


def set_tags(
    mesh: Mesh, facet: Mapping[str, Any], cell: Mapping[str, Any], point: Mapping[str, Any]
) -> None:
    """Check the tags and store them in their flat form (`tags.encode`)."""
    n, width = len(mesh.pos), tags.FACET_WIDTH[mesh.cell_dim]
    columns = {1: (1,), 2: (2,), 3: (3, 4)}[mesh.cell_dim]
    facets = {k: tags.as_index_tensor(v, f"facet tag {k!r}") for k, v in facet.items()}
    facets = {k: v.reshape(-1, columns[-1]) if v.numel() == 0 else v for k, v in facets.items()}
    tags.check_tags("facet", facets, n, "node", columns)
    cells = {k: tags.as_index_tensor(v, f"cell tag {k!r}") for k, v in cell.items()}
    tags.check_tags("cell", cells, mesh.num_cells, "cell")
    points = {k: tags.as_index_tensor(v, f"point tag {k!r}") for k, v in point.items()}
    tags.check_tags("point", points, n, "node")
    wide = {k: tags.widen_facets(v, width) for k, v in facets.items()}
    for kind, values in (("facet", wide), ("cell", cells), ("point", points)):
        entities, number, names = tags.encode(values)
        if kind == "facet" and not len(entities):
            entities = entities.reshape(0, width)
        mesh[f"tagged_{kind}s"] = entities.to(mesh.pos.device)
        mesh[f"{kind}_tag_number"] = number.to(mesh.pos.device)
        mesh[f"{kind}_tag_names"] = names
