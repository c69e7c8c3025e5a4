"""The numpy pieces of a `Mesh` that every conversion and every writer starts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from ..mesh import Mesh

Array = NDArray[Any]
IntArray = NDArray[np.int64]

FACET_TYPE = {1: "vertex", 2: "line", 3: "triangle", 4: "quad"}
"""Name of the facet with so many nodes."""


def as_numpy(tensor: Tensor) -> Array:
    """A tensor's values in host memory (shared where it already is there)."""
    if tensor.dtype == torch.bfloat16:  # numpy has none
        tensor = tensor.float()
    array: Array = tensor.detach().cpu().numpy()
    return array


def points3(mesh: Mesh) -> NDArray[np.float64]:
    """Positions padded with zeros `[n, 3]`."""
    pos = as_numpy(mesh.pos)
    out = np.zeros((len(pos), 3))
    out[:, : pos.shape[1]] = pos
    return out


def cell_blocks(mesh: Mesh) -> list[tuple[str, IntArray]]:
    """Cells in canonical order, as runs of one type: `[(type, nodes [k, nodes per cell])]`."""
    cells = {name: as_numpy(nodes) for name, nodes in mesh.cells.items()}
    if len(cells) == 1:
        return list(cells.items())
    names = list(cells)
    code = np.empty(mesh.num_cells, np.int8)
    for i, name in enumerate(names):
        code[as_numpy(mesh.cell_ids[name])] = i
    starts = np.flatnonzero(np.r_[True, code[1:] != code[:-1]])
    used = dict.fromkeys(names, 0)
    blocks = []
    for start, stop in zip(starts, [*starts[1:], len(code)], strict=True):
        name = names[code[start]]
        begin = used[name]
        used[name] += int(stop - start)
        blocks.append((name, cells[name][begin : used[name]]))
    return blocks


def facets_by_type(nodes: Array) -> dict[str, IntArray]:
    """Split facet rows by type; among quads a triangle repeats its last node.

    Args:
        nodes: `[k, 1..4]`.

    Returns:
        `{"vertex" | "line" | "triangle" | "quad": [k, nodes per facet]}`, no empty entries.
    """
    if len(nodes) == 0:
        return {}
    if nodes.shape[1] < 4:
        return {FACET_TYPE[nodes.shape[1]]: nodes}
    triangle = nodes[:, 2] == nodes[:, 3]
    split = {"triangle": nodes[triangle, :3], "quad": nodes[~triangle]}
    return {name: rows for name, rows in split.items() if len(rows)}


def unique_facets(
    mesh: Mesh,
) -> tuple[dict[str, IntArray], dict[str, dict[str, IntArray]]]:
    """Each tagged facet once, by type, in the order of tagging; and the members of the tags.

    Returns:
        `{facet type: nodes [k, nodes per facet]}` and `{tag: {facet type: rows}}`.
    """
    tagged = {name: facets_by_type(as_numpy(nodes)) for name, nodes in mesh.facet_tags.items()}
    facets: dict[str, IntArray] = {}
    members: dict[str, dict[str, IntArray]] = {name: {} for name in tagged}
    for kind in FACET_TYPE.values():
        parts = {name: rows[kind] for name, rows in tagged.items() if kind in rows}
        if not parts:
            continue
        nodes = np.concatenate(list(parts.values()))
        _, first, inverse = np.unique(
            np.sort(nodes, axis=1), axis=0, return_index=True, return_inverse=True
        )
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        facets[kind] = nodes[first[order]]
        begin = 0
        for name, rows in parts.items():
            members[name][kind] = place[inverse.ravel()[begin : begin + len(rows)]]
            begin += len(rows)
    return facets, members


def partition(members: Sequence[IntArray], n: int) -> tuple[IntArray, list[tuple[int, ...]]]:
    """Split `n` entities into classes that are in the same sets.

    Args:
        members: the entities of each set.
        n: number of entities.

    Returns:
        The class of each entity `[n]` and the sets of each class; class 0 is in no set.
    """
    entity = np.concatenate([np.empty(0, np.int64), *members])
    which = np.repeat(np.arange(len(members)), [len(m) for m in members])
    pairs = np.unique(np.stack([entity, which], axis=1), axis=0)
    count = np.bincount(pairs[:, 0], minlength=n)
    width = int(count.max(initial=0))
    start = np.cumsum(count) - count
    rows = np.full((n, width), -1)
    rows[pairs[:, 0], np.arange(len(pairs)) - start[pairs[:, 0]]] = pairs[:, 1]
    if width == 0:
        return np.zeros(n, np.int64), [()]
    classes, code = np.unique(np.r_[np.full((1, width), -1), rows], axis=0, return_inverse=True)
    return code.ravel()[1:], [tuple(int(i) for i in row if i >= 0) for row in classes]


def fields_of(mesh: Mesh, kind: str) -> dict[str, Array]:
    """Values of the fields of one kind ("node", "cell", "facet") by name."""
    fields = {"node": mesh.node_fields, "cell": mesh.cell_fields, "facet": mesh.facet_fields}[kind]
    return {name: as_numpy(values) for name, values in fields.items()}


def tags_of(mesh: Mesh, kind: str) -> dict[str, IntArray]:
    """Members of the tags of one kind ("point", "cell") by name."""
    tags = {"point": mesh.point_tags, "cell": mesh.cell_tags}[kind]
    return {name: as_numpy(members) for name, members in tags.items()}
