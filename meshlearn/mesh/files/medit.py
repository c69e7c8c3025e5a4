"""Medit's text format (.mesh): references are tags, their names are comments.

A comment `# tag <kind> <reference> <name>` names a reference of vertices, edges (in 2D), triangles
...; other codes see the numbers. The corners and required vertices that mmg knows are point tags
"Corners" and "RequiredVertices". There is no place for fields.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import meshio
import numpy as np
from numpy.typing import NDArray

from ..convert.arrays import IntArray, as_numpy, cell_blocks, tags_of, unique_facets
from ..errors import MeshError
from ..mesh import Mesh
from .losing import losing
from .references import add_sets, references
from .text import EXACT, write_table

_SECTIONS = {
    "Edges": ("line", 2),
    "Triangles": ("triangle", 3),
    "Quadrilaterals": ("quad", 4),
    "Tetrahedra": ("tetra", 4),
    "Hexahedra": ("hexahedron", 8),
    "Prisms": ("wedge", 6),
    "Pyramids": ("pyramid", 5),
    "Hexaedra": ("hexahedron", 8),
    "EdgesP2": ("line", 3),
    "TrianglesP2": ("triangle", 6),
    "QuadrilateralsQ2": ("quad", 9),
    "TetrahedraP2": ("tetra", 10),
    "HexahedraQ2": ("hexahedron", 27),
}
_SECTION_OF = {name: section for section, (name, _) in reversed(_SECTIONS.items())}
_POINTS = ("Corners", "RequiredVertices")
_QUIET = ("MeshVersionFormatted", "Dimension", "Identifier", "Geometry", "End")
_KEYWORD = re.compile(r"^[ \t]*(?!nan\b|inf\b)([A-Za-z]\w*)", re.MULTILINE | re.IGNORECASE)
_TAG = re.compile(r"^# tag (\w+) (\d+) (.+)$", re.MULTILINE)


def read(path: Path, lost: list[str]) -> meshio.Mesh:
    """Vertices, cells and references."""
    text = path.read_text(errors="replace")
    names: dict[str, dict[int, list[str]]] = {}
    for kind, ref, name in _TAG.findall(text):
        names.setdefault(kind, {}).setdefault(int(ref), []).append(name)
    text = re.sub("#.*", "", text)
    marks = list(_KEYWORD.finditer(text))
    if not marks or marks[0][1] != "MeshVersionFormatted":
        raise MeshError("it does not begin with MeshVersionFormatted, so it is not a Medit mesh")
    if marks[-1][1] != "End":
        raise MeshError("the file ends before its keyword End")
    dim, vertices, point_sets = 0, None, {}
    blocks: list[tuple[str, IntArray]] = []
    refs: list[IntArray] = []
    for mark, following in pairwise(marks):
        key, body = mark[1], text[mark.end() : following.start()]
        if key == "Dimension":
            dim = int(body)
        elif key == "Vertices":
            vertices = _numbers(body, dim + 1, float, key)
        elif key in _SECTIONS:
            name, size = _SECTIONS[key]
            rows = _numbers(body, size + 1, int, key)
            blocks.append((name, rows[:, :size] - 1))
            refs.append(rows[:, size])
        elif key in _POINTS:
            point_sets[key] = _numbers(body, 1, int, key)[:, 0] - 1
        elif key not in _QUIET:
            lost.append(f"the section {key}")
    if vertices is None or dim not in (2, 3):
        raise MeshError("it lacks Dimension or Vertices")
    m = meshio.Mesh(np.ascontiguousarray(vertices[:, :dim]), blocks)
    _add_point_sets(m, vertices[:, dim].astype(np.int64), names.get("vertex", {}))
    m.point_sets |= point_sets
    for i, (block, ref) in enumerate(zip(blocks, refs, strict=True)):
        add_sets(m, i, ref, names.get(block[0], {}))
    return m


def _numbers(body: str, width: int, dtype: type, what: str) -> NDArray[Any]:
    """The rows after a keyword: a count, then `width` numbers each."""
    words = body.split()
    if not words or len(words) - 1 != int(words[0]) * width:
        raise MeshError(
            f"{what} announces {words[:1]} rows of {width} but holds {len(words) - 1} numbers"
        )
    return np.array(words[1:], dtype=dtype).reshape(-1, width)


def _add_point_sets(m: meshio.Mesh, refs: IntArray, names: dict[int, list[str]]) -> None:
    values = np.unique(refs)
    for ref in values[values != 0]:
        if len(values) == 1 and int(ref) not in names:
            return  # one number for all vertices says nothing
        for name in names.get(int(ref), [str(ref)]):
            nodes = np.flatnonzero(refs == ref)
            m.point_sets[name] = np.union1d(m.point_sets.get(name, nodes), nodes)


def write(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
    """Vertices, cells and tagged facets with references."""
    losing(mesh, lost, facet_tags=mesh.cell_dim == 1, fields=True)
    point_tags = tags_of(mesh, "point")
    special = {name: point_tags.pop(name) for name in _POINTS if name in point_tags}
    vertex_refs, pairs = references(point_tags, len(mesh.pos), set())
    comments = [("vertex", pairs)]
    sections = _cells(mesh, comments, lost)
    dim = max(mesh.dim, 2)
    points = np.zeros((len(mesh.pos), dim))
    points[:, : mesh.dim] = as_numpy(mesh.pos)
    with path.open("wb") as file:
        file.write(f"MeshVersionFormatted 2\nDimension {dim}\n".encode())
        for kind, pairs in comments:
            file.write("".join(f"# tag {kind} {ref} {name}\n" for ref, name in pairs).encode())
        file.write(f"Vertices\n{len(points)}\n".encode())
        write_table(file, f"{EXACT} " * dim + "%d\n", points, vertex_refs)
        for name, nodes, ref in sections:
            file.write(f"{_SECTION_OF[name]}\n{len(nodes)}\n".encode())
            write_table(file, "%d " * nodes.shape[1] + "%d\n", nodes + 1, ref)
        for name, nodes in special.items():
            file.write(f"{name}\n{len(nodes)}\n".encode())
            write_table(file, "%d\n", nodes + 1)
        file.write(b"End\n")


def _cells(
    mesh: Mesh, comments: list[tuple[str, list[tuple[int, str]]]], lost: list[str]
) -> list[tuple[str, IntArray, IntArray]]:
    """Cells and facets by type, with references; extends `comments`."""
    refs, pairs = references(tags_of(mesh, "cell"), mesh.num_cells, set())
    comments += [(name, pairs) for name in mesh.cells]
    sections = []
    cuts = np.cumsum([len(nodes) for _, nodes in cell_blocks(mesh)])[:-1]
    runs = list(zip(cell_blocks(mesh), np.split(refs, cuts), strict=True))
    sections += [(name, nodes, ref) for (name, nodes), ref in runs]
    if mesh.cell_dim == 1:
        return sections
    facets, members = unique_facets(mesh)
    reserved: set[int] = set()
    for kind, nodes in facets.items():
        tags = {tag: rows[kind] for tag, rows in members.items() if kind in rows}
        ref, pairs = references(tags, len(nodes), reserved)
        comments.append((kind, pairs))
        sections.append((kind, nodes, ref))
    empty = [tag for tag, rows in members.items() if not rows]
    lost += [f"the empty facet tag {tag!r}" for tag in empty]
    return sections
