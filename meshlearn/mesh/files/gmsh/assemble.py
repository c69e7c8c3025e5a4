"""From the pieces of an MSH file to blocks, sets and fields.

Nodes and cells are numbered in the order of gmsh's tags, which is the order in the file where the
tags ascend, as gmsh writes them.
"""

from __future__ import annotations

from typing import Any

import meshio
import numpy as np
from numpy.typing import NDArray

from ...errors import MeshError
from .types import UNTAGGED, Elements, IntArray, Msh, dimension

_MULTIPLIERS = np.random.default_rng(0).integers(1, 2**63, 1024, np.uint64) * np.uint64(
    2
) + np.uint64(1)


def assemble(msh: Msh) -> meshio.Mesh:
    """Blocks and sets of the elements of each dimension, fields on nodes and main cells."""
    if not msh.elements:
        raise MeshError("there are no cells")
    order = _node_order(msh)
    index = _Lookup(msh.node_number if order is None else msh.node_number[order], "node")
    points = msh.points if order is None else msh.points[order]
    by_dim: dict[int, list[Elements]] = {}
    while msh.elements:  # frees the node tags as the indices are made
        part = msh.elements.pop(0)
        part.nodes = index(part.nodes)
        by_dim.setdefault(dimension(part.family), []).append(part)
    cell_dim = max(by_dim)
    cells: list[tuple[str, IntArray]] = []
    sets: list[tuple[int, dict[int, list[IntArray]]]] = []
    numbers = np.empty(0, np.int64)
    for dim in sorted(by_dim, reverse=True):
        blocks, groups, number = _ordered(by_dim.pop(dim), merge=dim == cell_dim)
        if dim == cell_dim:
            numbers = number
            n_main = len(blocks)
        sets += [(dim, {len(cells) + i: g for i, g in enumerate(groups)})]  # type: ignore[misc]
        cells += blocks
    cell_sets, field_data = _named_sets(msh, sets, len(cells))
    point_data, cell_values = {}, {}
    for (kind, name), (number, values) in msh.data.items():
        if kind == "node":
            point_data[name] = _spread(index, number, values, len(points))
        else:
            cell_values[name] = _spread(_Lookup(numbers, "element"), number, values, len(numbers))
    cuts = np.cumsum([len(nodes) for _, nodes in cells[:n_main]])[:-1]
    cell_data = {
        name: np.split(values, cuts)
        + [np.full((len(nodes), *values.shape[1:]), np.nan) for _, nodes in cells[n_main:]]
        for name, values in cell_values.items()
    }
    return meshio.Mesh(
        points,
        cells,
        point_data=point_data,
        cell_data=cell_data,
        cell_sets=cell_sets,
        field_data=field_data,
    )


class _Lookup:
    """Index of each of gmsh's tags."""

    def __init__(self, number: IntArray, what: str) -> None:
        self.number, self.what = number, what
        n = len(number)
        self.first = int(number[0]) if n else 0
        self.dense = n > 0 and int(number[-1]) - self.first == n - 1
        if (number[1:] <= number[:-1]).any():
            raise MeshError(f"a {what} number is given twice")

    def __call__(self, wanted: IntArray) -> IntArray:
        """Indices; a tag that does not exist is an error."""
        if self.dense:
            found = wanted - np.int64(self.first)
            if found.size == 0 or (found.min() >= 0 and found.max() < len(self.number)):
                return found
        found, missing = self.find(wanted)
        if missing.any():
            bad = int(wanted[missing].ravel()[0])
            raise MeshError(f"an element uses {self.what} {bad}, which does not exist")
        return found

    def find(self, wanted: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Indices, and which tags do not exist (whose index means nothing)."""
        if self.dense:
            found = wanted - self.first
            return found, (found < 0) | (found >= len(self.number))
        found = np.searchsorted(self.number, wanted)
        found[found == len(self.number)] = 0
        exists = self.number[found] == wanted if len(self.number) else np.zeros(wanted.shape, bool)
        return found, ~exists


def _node_order(msh: Msh) -> IntArray | None:
    if (msh.node_number[1:] > msh.node_number[:-1]).all():
        return None
    return np.argsort(msh.node_number, kind="stable")


def _ordered(
    parts: list[Elements], merge: bool
) -> tuple[list[tuple[str, IntArray]], list[dict[int, IntArray]], IntArray]:
    """Elements of one dimension as runs of one type, in the order of their numbers.

    Args:
        parts: the elements.
        merge: whether elements that are listed once per physical group become one cell.

    Returns:
        Blocks, the members of each group in each block, and the number of each element.
    """
    families = list(dict.fromkeys(part.family for part in parts))
    members = _members(parts)
    repeated = merge and len(members) > 1 and any(part.group is not None for part in parts)
    if len(families) == 1 and not repeated:
        number = _concatenated([part.number for part in parts])
        if (number[1:] > number[:-1]).all():  # the usual case
            return [(families[0], _joined([part.nodes for part in parts]))], [members], number
    nodes = {f: _joined([p.nodes for p in parts if p.family == f]) for f in families}
    number = np.concatenate([p.number for p in parts])
    family = np.concatenate([np.full(len(p.number), families.index(p.family)) for p in parts])
    row = np.empty(len(number), np.int64)
    for i in range(len(families)):
        row[family == i] = np.arange(int((family == i).sum()))
    alias = np.arange(len(number))
    if repeated:
        for i, name in enumerate(families):
            where = np.flatnonzero(family == i)
            alias[where] = where[_first_equal(nodes[name])]
    kept = np.flatnonzero(alias == np.arange(len(alias)))
    if (np.diff(number[kept]) <= 0).any():
        kept = kept[np.argsort(number[kept], kind="stable")]
    place = np.empty(len(number), np.int64)
    place[kept] = np.arange(len(kept))
    place = place[alias]
    starts = np.flatnonzero(np.r_[True, np.diff(family[kept]) != 0])
    stops = np.r_[starts[1:], len(kept)]
    blocks, groups = [], []
    positions = {g: np.unique(place[ids]) for g, ids in members.items()}
    for start, stop in zip(starts, stops, strict=True):
        name = families[family[kept[start]]]
        rows = row[kept[start:stop]]
        whole = len(rows) == len(nodes[name]) and (np.diff(rows) == 1).all()
        blocks.append((name, nodes[name] if whole else nodes[name][rows]))
        bounds = {g: np.searchsorted(p, [start, stop]) for g, p in positions.items()}
        groups.append({g: positions[g][a:b] - start for g, (a, b) in bounds.items()})
    return blocks, groups, number[kept]


def _joined(parts: list[IntArray]) -> IntArray:
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        raise MeshError("elements of one shape but of different order cannot be mixed")
    return _concatenated(parts)


def _concatenated(parts: list[IntArray]) -> IntArray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _members(parts: list[Elements]) -> dict[int, IntArray]:
    """Positions of the elements of each physical group."""
    members: dict[int, list[IntArray]] = {}
    start = 0
    for part in parts:
        stop = start + len(part.number)
        for group in part.groups:
            members.setdefault(group, []).append(np.arange(start, stop))
        if part.group is not None:
            alike = bool((part.group == part.group[0]).all())
            for group in part.group[:1] if alike else np.unique(part.group):
                if group != 0:
                    where = start + np.flatnonzero(part.group == group)
                    members.setdefault(abs(int(group)), []).append(where)
        start = stop
    return {group: _concatenated(ids) for group, ids in members.items()}


def _first_equal(rows: IntArray) -> IntArray:
    """Position of the first row equal to each row `[k]` (rows are told apart by a 64-bit mix)."""
    mix = np.zeros(len(rows), np.uint64)
    for column, factor in zip(rows.T, _MULTIPLIERS, strict=False):
        mix += column.astype(np.uint64) * factor
    ordered = np.sort(mix)
    if not (ordered[1:] == ordered[:-1]).any():
        return np.arange(len(rows))
    _, first, inverse = np.unique(mix, return_index=True, return_inverse=True)
    found: IntArray = first[inverse]
    return np.where((rows[found] == rows).all(axis=1), found, np.arange(len(rows)))


def _named_sets(
    msh: Msh, sets: list[tuple[int, dict[int, Any]]], n_blocks: int
) -> tuple[dict[str, list[IntArray]], dict[str, IntArray]]:
    """Members of each group by name, and `[number, dimension]` of the named ones."""
    none = np.empty(0, np.int64)
    cell_sets = {name: [none] * n_blocks for name in msh.names.values()}
    for dim, blocks in sets:
        for i, groups in blocks.items():
            for group, members in groups.items():
                name = msh.names.get((dim, group), str(group))
                cell_sets.setdefault(name, [none] * n_blocks)[i] = members
    cell_sets.pop(UNTAGGED, None)
    field_data = {name: np.array([number, dim]) for (dim, number), name in msh.names.items()}
    return cell_sets, field_data


def _spread(lookup: _Lookup, number: IntArray, values: NDArray[Any], n: int) -> NDArray[Any]:
    """Values by index, NaN where the file gives none."""
    found, missing = lookup.find(number)
    if len(number) == n and not missing.any() and (found == np.arange(n)).all():
        return values
    out = np.full((n, *values.shape[1:]), np.nan)
    out[found[~missing]] = values[~missing]
    return out
