"""SU2's native format: markers are facet tags; there is no place for other tags and fields."""

from __future__ import annotations

from pathlib import Path

import meshio
import numpy as np

from ..cells import CELL_TYPES
from ..convert.arrays import IntArray, as_numpy, cell_blocks, facets_by_type
from ..errors import MeshError
from ..mesh import Mesh
from .losing import losing
from .text import EXACT, check_complete, first_line, last_line, read_lines, runs, table, write_table

_CODE = {"vertex": 1, **{name: cell.vtk for name, cell in CELL_TYPES.items()}}
_TYPE = {code: name for name, code in _CODE.items()}


def read(path: Path, lost: list[str]) -> meshio.Mesh:
    """Cells and markers."""
    check_complete(path, "%")
    lines = read_lines(path, "%")
    blocks: list[tuple[str, IntArray]] = []
    markers: list[tuple[str, str, IntArray]] = []
    points, dim, expected, at = None, 0, -1, 0
    marker: str | None = None
    while at < len(lines):
        key, equals, value = lines[at].partition("=")
        key, value, at = key.strip().upper(), value.split("%")[0].strip(), at + 1
        if not equals:
            raise MeshError(f"expected a keyword, found {lines[at - 1][:40]!r}")
        if key == "NZONE" and int(value) > 1:
            raise MeshError("it has several zones; split it into one file per zone")
        if key == "NDIME":
            dim = int(value)
        elif key in ("NELEM", "NPOIN", "MARKER_ELEMS"):
            count = int(value.split()[0])
            rows, at = lines[at : at + count], at + count
            if len(rows) < count or any("=" in row for row in rows[-1:]):
                raise MeshError(f"it ends inside {key}, which announces {count} lines")
            if key == "NELEM":
                blocks = _cells(rows)
            elif key == "NPOIN":
                points = table(rows, float, "points")[:, :dim]
            elif marker is not None:
                markers += [(marker, kind, nodes) for kind, nodes in _cells(rows)]
                marker = None if count else marker
        elif key == "NMARK":
            expected = int(value)
        elif key == "MARKER_TAG":
            marker, expected = value, expected - 1
    if points is None or not blocks or expected == -1 or dim not in (2, 3):
        raise MeshError("it lacks NDIME, NELEM, NPOIN or NMARK (0 where there are no markers)")
    if expected > 0 or (marker is not None and not markers):
        raise MeshError("it ends before its last marker")
    return _mesh(points, blocks, markers)


def _mesh(
    points: IntArray, blocks: list[tuple[str, IntArray]], markers: list[tuple[str, str, IntArray]]
) -> meshio.Mesh:
    cells = blocks + [(kind, nodes) for _, kind, nodes in markers]
    none = np.empty(0, np.int64)
    cell_sets: dict[str, list[IntArray]] = {}
    for i, (name, _, nodes) in enumerate(markers, len(blocks)):
        cell_sets.setdefault(name, [none] * len(cells))[i] = np.arange(len(nodes))
    return meshio.Mesh(points, cells, cell_sets=cell_sets)


def _cells(lines: list[str]) -> list[tuple[str, IntArray]]:
    """Runs of one type; a line is type, nodes and perhaps a number."""
    words = [line.split(None, 1)[0] for line in lines]
    blocks = []
    for start, stop in runs(words):
        code = int(words[start])
        if code not in _TYPE:
            raise MeshError(f"elements of type {code} are not supported")
        name = _TYPE[code]
        size = 1 if name == "vertex" else CELL_TYPES[name].num_nodes
        rows = table(lines[start:stop], int, "elements")
        if rows.shape[1] < 1 + size:
            raise MeshError(f"a {name} has only {rows.shape[1] - 1} nodes")
        blocks.append((name, rows[:, 1 : 1 + size]))
    return blocks


def write(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
    """Cells and facet tags."""
    losing(mesh, lost, cell_tags=True, point_tags=True, fields=True)
    dim = max(mesh.dim, 2)
    points = np.zeros((len(mesh.pos), dim))
    points[:, : mesh.dim] = as_numpy(mesh.pos)
    with path.open("wb") as file:
        file.write(first_line("%") + f"NDIME= {dim}\nNELEM= {mesh.num_cells}\n".encode())
        done = 0
        for name, nodes in cell_blocks(mesh):
            number = np.arange(done, done + len(nodes))
            row = " ".join(["%d"] * (nodes.shape[1] + 1))
            write_table(file, f"{_CODE[name]} {row}\n", nodes, number)
            done += len(nodes)
        file.write(f"NPOIN= {len(points)}\n".encode())
        write_table(file, " ".join([EXACT] * dim) + " %d\n", points, np.arange(len(points)))
        file.write(f"NMARK= {len(mesh.facet_tags)}\n".encode())
        for tag, facets in mesh.facet_tags.items():
            if "\n" in tag or tag != tag.strip():
                raise MeshError(f"SU2 cannot hold the tag name {tag!r}; rename it")
            file.write(f"MARKER_TAG= {tag}\nMARKER_ELEMS= {len(facets)}\n".encode())
            for kind, nodes in facets_by_type(as_numpy(facets)).items():
                row = " ".join(["%d"] * nodes.shape[1])
                write_table(file, f"{_CODE[kind]} {row}\n", nodes)
        file.write(last_line("%"))
