"""Wavefront OBJ: triangles and quads; groups are cell tags.

Texture coordinates, normals and materials are passed over.
"""

from __future__ import annotations

import re
from pathlib import Path

import meshio
import numpy as np

from ..convert.arrays import IntArray, cell_blocks, partition, points3, tags_of
from ..errors import MeshError
from ..mesh import Mesh
from .losing import losing
from .text import EXACT, check_complete, first_line, last_line, read_lines, runs, table, write_table

_TYPES = {3: "triangle", 4: "quad"}


def read(path: Path, lost: list[str]) -> meshio.Mesh:
    """Vertices, faces and groups."""
    check_complete(path, "#")
    vertices: list[str] = []
    faces: list[list[int]] = []
    groups: list[tuple[str, ...]] = []
    group: tuple[str, ...] = ()
    for line in read_lines(path, "#"):
        key, _, rest = line.partition(" ")
        if key == "v":
            vertices.append(" ".join(rest.split()[:3]))
        elif key == "f":
            numbers = [int(word.split("/")[0]) for word in rest.split()]
            faces.append([n - 1 if n > 0 else len(vertices) + n for n in numbers])
            groups.append(group)
        elif key == "g":
            group = tuple(name for name in rest.split() if name != "default")
    blocks: list[tuple[str, IntArray]] = []
    sizes = [len(face) for face in faces]
    for start, stop in runs(sizes):
        if sizes[start] not in _TYPES:
            raise MeshError(
                f"a face has {sizes[start]} corners; split faces into triangles or quads"
            )
        blocks.append((_TYPES[sizes[start]], np.array(faces[start:stop])))
    cell_sets = {}
    starts = np.cumsum([0, *(len(nodes) for _, nodes in blocks)])
    for name in dict.fromkeys(name for names in groups for name in names):
        member = np.array([name in names for names in groups])
        parts = np.split(member, starts[1:-1])
        cell_sets[name] = [np.flatnonzero(part) for part in parts]
    return meshio.Mesh(table(vertices, float, "vertices"), blocks, cell_sets=cell_sets)


def write(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
    """Vertices, faces and groups."""
    if set(mesh.cells) - set(_TYPES.values()):
        raise MeshError(
            f"OBJ holds triangles and quads; this mesh has {', '.join(mesh.cells)} cells"
        )
    losing(mesh, lost, facet_tags=True, point_tags=True, fields=True)
    tags = tags_of(mesh, "cell")
    for name in tags:
        if re.search(r"\s", name) or name == "default":
            raise MeshError(f"OBJ cannot hold the tag name {name!r}; rename it")
    lost += [f"the empty cell tag {name!r}" for name, ids in tags.items() if not len(ids)]
    names = list(tags)
    code, classes = partition(list(tags.values()), mesh.num_cells)
    with path.open("wb") as file:
        file.write(first_line("#"))
        write_table(file, f"v {EXACT} {EXACT} {EXACT}\n", points3(mesh))
        done = 0
        for _, nodes in cell_blocks(mesh):
            own = code[done : done + len(nodes)]
            done += len(nodes)
            for start, stop in runs(own.tolist()):
                if names:
                    listed = [names[i] for i in classes[own[start]]] or ["default"]
                    file.write(f"g {' '.join(listed)}\n".encode())
                row = "f " + " ".join(["%d"] * nodes.shape[1]) + "\n"
                write_table(file, row, nodes[start:stop] + 1)
        file.write(last_line("#"))
