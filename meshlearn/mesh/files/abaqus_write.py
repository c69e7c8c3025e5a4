"""Writer of Abaqus input files (.inp), what `abaqus` reads.

Triangles and quads are CPS3 and CPS4 in the plane, S3 and S4 in space; tagged facets are faces of
elements in a SURFACE.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from ..cells import CELL_TYPES
from ..convert.arrays import IntArray, as_numpy, cell_blocks, points3, tags_of
from ..errors import MeshError
from ..mesh import Mesh
from .abaqus import FACES
from .losing import losing
from .text import EXACT, first_line, last_line, write_table

_TYPES = {
    "line": ("T2D2", "T3D2"),
    "triangle": ("CPS3", "S3"),
    "quad": ("CPS4", "S4"),
    "tetra": ("C3D4",) * 2,
    "pyramid": ("C3D5",) * 2,
    "wedge": ("C3D6",) * 2,
    "hexahedron": ("C3D8",) * 2,
}
_PER_LINE = 16


def write(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
    """Nodes, elements, sets and surfaces."""
    losing(mesh, lost, fields=True)
    pos = points3(mesh)
    with path.open("wb") as file:
        file.write(first_line("**") + b"*NODE\n")
        write_table(file, f"%d, {EXACT}, {EXACT}, {EXACT}\n", np.arange(1, len(pos) + 1), pos)
        done = 1
        for name, nodes in cell_blocks(mesh):
            kind = _TYPES[name][mesh.dim == 3]
            file.write(f"*ELEMENT, TYPE={kind}\n".encode())
            row = ", ".join(["%d"] * (1 + nodes.shape[1])) + "\n"
            write_table(file, row, np.arange(done, done + len(nodes)), nodes + 1)
            done += len(nodes)
        for key, tags in (("NSET", tags_of(mesh, "point")), ("ELSET", tags_of(mesh, "cell"))):
            _check_names(tags)
            for tag, members in tags.items():
                words = [str(m + 1) for m in members]
                lines = (words[i : i + _PER_LINE] for i in range(0, len(words), _PER_LINE))
                body = "".join(", ".join(line) + "\n" for line in lines)
                file.write(f"*{key}, {key}={_quoted(tag)}\n{body}".encode())
        _check_names(mesh.facet_tags)
        for tag, facets in mesh.facet_tags.items():
            file.write(f"*SURFACE, NAME={_quoted(tag)}, TYPE=ELEMENT\n".encode())
            file.write(
                "".join(f"{c + 1}, {face}\n" for c, face in _faces(mesh, as_numpy(facets))).encode()
            )
        file.write(last_line("**"))


def _faces(mesh: Mesh, facets: IntArray) -> list[tuple[int, str]]:
    """An element and the name of its face for each facet."""
    letter = "END" if mesh.cell_dim == 1 else "E" if mesh.cell_dim < mesh.dim else "S"
    ids = as_numpy(mesh.topology.find_facets(torch.as_tensor(facets)))
    owner = as_numpy(mesh.topology.facet_cells)[ids, 0]
    face = np.zeros(len(ids), np.int64)
    for name, cells in mesh.cell_ids.items():
        own = as_numpy(cells)
        row = np.minimum(np.searchsorted(own, owner), len(own) - 1)
        here = np.flatnonzero(own[row] == owner)
        local = as_numpy(mesh.topology.cell_facets[name])[row[here]] == ids[here, None]
        sets = [set(nodes) for nodes in FACES[name]]
        number = np.array([sets.index(set(nodes)) for nodes in CELL_TYPES[name].facets])
        face[here] = number[local.argmax(axis=1)]
    return [(int(c), f"{letter}{f + 1}") for c, f in zip(owner, face, strict=True)]


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z][\w-]*", name) else f'"{name}"'


def _check_names(tags: Mapping[str, object]) -> None:
    seen: dict[str, str] = {}
    for name in tags:
        other = seen.setdefault(name.upper(), name)
        if other != name:
            raise MeshError(
                f"Abaqus does not tell the names {other!r} and {name!r} apart; rename one"
            )
        if re.search(r'[",\n=*]', name):
            raise MeshError(f"Abaqus cannot hold the tag name {name!r}; rename it")
