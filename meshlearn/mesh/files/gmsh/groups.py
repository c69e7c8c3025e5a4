"""Tags as physical groups: elements by type, each with the set of groups it is in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...convert.arrays import as_numpy, cell_blocks, partition, tags_of, unique_facets
from ...convert.losses import quoted
from ...errors import MeshError
from ...mesh import Mesh
from .types import UNTAGGED, IntArray, dimension


@dataclass(frozen=True)
class Block:
    """Elements of one type, with the class (set of tags) of each; `classes` are group numbers."""

    family: str
    nodes: IntArray
    code: IntArray
    classes: list[tuple[int, ...]]

    @property
    def dim(self) -> int:
        return dimension(self.family)


def blocks_of(mesh: Mesh, lost: list[str]) -> tuple[list[Block], dict[tuple[int, int], str]]:
    """Main cells first, then tagged facets and points."""
    dim = mesh.cell_dim
    facets, facet_members = unique_facets(mesh)
    cell_tags, point_tags = tags_of(mesh, "cell"), tags_of(mesh, "point")
    if dim == 1 and point_tags:
        lost.append(f"the difference between point and facet tags ({quoted(point_tags)})")
        for name, tagged in mesh.facet_tags.items():
            own = point_tags.get(name, np.empty(0, np.int64))
            point_tags[name] = np.union1d(own, as_numpy(tagged)[:, 0])
        facets, facet_members = {}, {}
    wanted = [(dim, name) for name in cell_tags] + [(dim - 1, name) for name in facet_members]
    wanted += [(0, name) for name in point_tags]
    runs = cell_blocks(mesh)
    code, classes = partition(list(cell_tags.values()), mesh.num_cells)
    number, names = _numbers(wanted + ([(dim, UNTAGGED)] if wanted and (code == 0).any() else []))
    ids = [number[dim, name] for name in cell_tags]
    cuts = np.cumsum([len(nodes) for _, nodes in runs])[:-1]
    groups = [tuple(ids[i] for i in members) for members in classes]
    if (dim, UNTAGGED) in number:
        groups[0] = (number[dim, UNTAGGED],)
    blocks = [
        Block(family, nodes, part, groups)
        for (family, nodes), part in zip(runs, np.split(code, cuts), strict=True)
    ]
    for family, nodes in facets.items():
        tags = [name for name in facet_members if family in facet_members[name]]
        ids = [number[dim - 1, name] for name in tags]
        code, classes = partition([facet_members[name][family] for name in tags], len(nodes))
        groups = [tuple(ids[i] for i in members) for members in classes]
        blocks.append(Block(family, nodes, code, groups))
    if any(len(nodes) for nodes in point_tags.values()):
        points = np.unique(np.concatenate(list(point_tags.values())))
        ids = [number[0, name] for name in point_tags]
        members = [np.searchsorted(points, nodes) for nodes in point_tags.values()]
        code, classes = partition(members, len(points))
        groups = [tuple(ids[i] for i in m) for m in classes]
        blocks.append(Block("vertex", points[:, None], code, groups))
    return blocks, names


def _numbers(
    wanted: list[tuple[int, str]],
) -> tuple[dict[tuple[int, str], int], dict[tuple[int, int], str]]:
    """A group number for each (dimension, tag), and the names of those that need one."""
    taken = {int(name) for _, name in wanted if _is_number(name)}
    number: dict[tuple[int, str], int] = {}
    names: dict[tuple[int, int], str] = {}
    free = 1
    for dim, name in dict.fromkeys(wanted):
        if _is_number(name):
            number[dim, name] = int(name)
            continue
        if '"' in name or "\n" in name:
            raise MeshError(f"gmsh cannot hold the tag name {name!r}; rename it without quotes")
        while free in taken:
            free += 1
        taken.add(free)
        number[dim, name] = free
        names[dim, free] = name
    return number, names


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and not name.startswith("0") and len(name) < 10
