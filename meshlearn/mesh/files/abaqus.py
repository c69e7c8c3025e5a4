"""Reader of Abaqus input files (.inp).

ELSETs are cell tags, NSETs point tags, element SURFACEs facet tags.

One part is understood, in or out of an assembly. Elements of lower dimension with an ELSET (as gmsh
writes boundaries) are facet tags too. Other keywords (materials, steps, ...) are passed over.
Set names are matched without regard to case, as Abaqus does, and kept as they are first spelt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import meshio
import numpy as np
from numpy.typing import NDArray

from ..convert.arrays import IntArray
from ..errors import MeshError
from .text import check_complete, read_lines, table

_FAMILIES: tuple[tuple[re.Pattern[str], dict[int, str]], ...] = (
    (
        re.compile(r"(D|A|G|Q)?C?C?3D\d+|(DC|AC|C)3D\d+"),
        {
            4: "tetra",
            10: "tetra",
            5: "pyramid",
            13: "pyramid",
            6: "wedge",
            15: "wedge",
            8: "hexahedron",
            20: "hexahedron",
            27: "hexahedron",
            18: "wedge",
        },
    ),
    (re.compile(r"T[23]D\d|B[23]\d|DC1D\d|SAX\d|R[23]D2|RAX2|FRAME|PIPE"), {2: "line", 3: "line"}),
    (
        re.compile(r"(CPS|CPE|CPEG|CAX|CGAX|DC2D|DCAX|AC2D|ACAX|S|DS|STRI|M3D|R3D|SFM3D)\d+"),
        {3: "triangle", 6: "triangle", 4: "quad", 8: "quad", 9: "quad"},
    ),
)
FACES = {  # nodes of S1, S2, ... (ends 1 and 2 of a line)
    "line": ((0,), (1,)),
    "triangle": ((0, 1), (1, 2), (2, 0)),
    "quad": ((0, 1), (1, 2), (2, 3), (3, 0)),
    "tetra": ((0, 1, 2), (0, 3, 1), (1, 3, 2), (2, 3, 0)),
    "pyramid": ((0, 1, 2, 3), (0, 4, 1), (1, 4, 2), (2, 4, 3), (3, 4, 0)),
    "wedge": ((0, 1, 2), (3, 5, 4), (0, 3, 4, 1), (1, 4, 5, 2), (2, 5, 3, 0)),
    "hexahedron": (
        *((0, 1, 2, 3), (4, 7, 6, 5), (0, 4, 5, 1)),
        *((1, 5, 6, 2), (2, 6, 7, 3), (3, 7, 4, 0)),
    ),
}
_FACE = re.compile(r"(S|E|END)(\d)")
_GENERATES = ("NGEN", "NFILL", "NCOPY", "ELGEN", "ELCOPY", "INCLUDE", "NMAP")


@dataclass
class _Input:
    """What the keywords said."""

    nodes: list[NDArray[np.float64]] = field(default_factory=list)
    blocks: list[tuple[str, IntArray, IntArray]] = field(default_factory=list)
    sets: dict[str, dict[str, list[str]]] = field(default_factory=lambda: {"NSET": {}, "ELSET": {}})
    spelt: dict[str, str] = field(default_factory=dict)
    surfaces: dict[str, list[list[str]]] = field(default_factory=dict)


def read(path: Path, lost: list[str]) -> meshio.Mesh:
    """Nodes, elements, sets and surfaces."""
    check_complete(path, "**")
    lines = read_lines(path, "**")
    heads = [i for i, line in enumerate(lines) if line.startswith("*")]
    if not heads or heads[0] != 0:
        raise MeshError("it does not begin with a keyword, so it is not an Abaqus input file")
    given = _Input()
    for start, stop in zip(heads, [*heads[1:], len(lines)], strict=True):
        keyword, options = _keyword(lines[start])
        if keyword in _GENERATES:
            raise MeshError(f"*{keyword} is not supported; write the nodes and elements out")
        if keyword in _READERS:
            _READERS[keyword](given, options, lines[start + 1 : stop])
    if not given.nodes or not given.blocks:
        raise MeshError("it has no *NODE or no *ELEMENT")
    return _mesh(given, lost)


def _keyword(line: str) -> tuple[str, dict[str, str]]:
    head, *rest = [part.strip() for part in line[1:].split(",")]
    pairs = (part.partition("=") for part in rest if part)
    return head.upper(), {k.strip().upper(): v.strip().strip('"') for k, _, v in pairs}


def _nodes(given: _Input, options: dict[str, str], lines: list[str]) -> None:
    if not lines:
        return
    rows = table([line.replace(",", " ") for line in lines], float, "nodes")
    given.nodes.append(np.pad(rows, ((0, 0), (0, max(0, 4 - rows.shape[1]))))[:, :4])
    if "NSET" in options:
        _remember(given, "NSET", options["NSET"], [str(int(n)) for n in rows[:, 0]])


def _elements(given: _Input, options: dict[str, str], lines: list[str]) -> None:
    rows: list[str] = []
    open_row = False
    for line in lines:  # a line that ends with a comma goes on
        if open_row:
            rows[-1] += line
        else:
            rows.append(line)
        open_row = line.endswith(",")
    if not rows:
        return
    values = table([row.replace(",", " ") for row in rows], int, "elements")
    given.blocks.append(
        (_family(options.get("TYPE", ""), values.shape[1] - 1), values[:, 0], values[:, 1:])
    )
    if "ELSET" in options:
        _remember(given, "ELSET", options["ELSET"], [str(n) for n in values[:, 0]])


def _family(kind: str, size: int) -> str:
    for pattern, names in _FAMILIES:
        if pattern.match(kind.upper()) and size in names:
            return names[size]
    raise MeshError(f"elements of type {kind!r} with {size} nodes are not supported")


def _set(kind: str) -> Callable[[_Input, dict[str, str], list[str]], None]:
    def read_set(given: _Input, options: dict[str, str], lines: list[str]) -> None:
        members: list[str] = []
        for line in lines:
            words = [word.strip().strip('"') for word in line.split(",") if word.strip()]
            if "GENERATE" in options:
                first, last, step = (int(w) for w in (*words, "1")[:3])
                members += [str(i) for i in range(first, last + 1, step)]
            else:
                members += words
        _remember(given, kind, options[kind], members)

    return read_set


def _remember(given: _Input, kind: str, name: str, members: list[str]) -> None:
    given.spelt.setdefault(name.upper(), name)
    given.sets[kind].setdefault(name.upper(), []).extend(members)


def _surface(given: _Input, options: dict[str, str], lines: list[str]) -> None:
    if options.get("TYPE", "ELEMENT").upper() == "ELEMENT":
        rows = [[word.strip().strip('"') for word in line.split(",")] for line in lines]
        given.surfaces.setdefault(options["NAME"], []).extend(rows)


_READERS: dict[str, Callable[[_Input, dict[str, str], list[str]], None]] = {
    "NODE": _nodes,
    "ELEMENT": _elements,
    "NSET": _set("NSET"),
    "ELSET": _set("ELSET"),
    "SURFACE": _surface,
}


def _mesh(given: _Input, lost: list[str]) -> meshio.Mesh:
    nodes = np.concatenate(given.nodes)
    node_at = _positions(nodes[:, 0].astype(np.int64), "node")
    number = np.concatenate([numbers for _, numbers, _ in given.blocks])
    cell_at = _positions(number, "element")
    cells = [(name, node_at(rows)) for name, _, rows in given.blocks]
    starts = np.cumsum([0, *(len(rows) for _, rows in cells)])
    cell_sets: dict[str, list[IntArray]] = {}
    for name in given.sets["ELSET"]:
        ids = np.unique(cell_at(_members(given.sets["ELSET"], name)))
        owner = np.searchsorted(starts, ids, side="right") - 1
        cell_sets[given.spelt[name]] = [ids[owner == i] - starts[i] for i in range(len(cells))]
    facets = []
    for name, rows in given.surfaces.items():
        facets += [
            (name, *part) for part in _facets(given, name, rows, cells, cell_at, starts, lost)
        ]
    none = np.empty(0, np.int64)
    for tag, _, _ in facets:
        cell_sets.setdefault(tag, [none] * len(cells))
    cell_sets = {tag: sets + [none] * len(facets) for tag, sets in cell_sets.items()}
    for i, (tag, _, nodes_of) in enumerate(facets, len(cells)):
        cell_sets[tag][i] = np.arange(len(nodes_of))
    point_sets = {
        given.spelt[name]: node_at(_members(given.sets["NSET"], name))
        for name in given.sets["NSET"]
    }
    blocks = cells + [(kind, rows) for _, kind, rows in facets]
    return meshio.Mesh(nodes[:, 1:], blocks, point_sets=point_sets, cell_sets=cell_sets)


def _positions(number: IntArray, what: str) -> Callable[[IntArray], IntArray]:
    """A function from numbers in the file to positions."""
    order = np.argsort(number, kind="stable")
    ordered = number[order]
    if (np.diff(ordered) == 0).any():
        twice = int(ordered[np.flatnonzero(np.diff(ordered) == 0)[0]])
        raise MeshError(
            f"{what} {twice} is defined twice; files of several parts are not supported"
        )

    def find(wanted: IntArray) -> IntArray:
        at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        if (ordered[at] != wanted).any():
            bad = int(np.ravel(wanted[ordered[at] != wanted])[0])
            raise MeshError(f"{what} {bad} is used but not defined")
        found: IntArray = order[at]
        return found

    return find


def _members(sets: dict[str, list[str]], name: str) -> IntArray:
    """Numbers in a set, which may name other sets."""
    members: list[int] = []
    for word in sets[name]:
        if word.isdigit():
            members.append(int(word))
        elif word.upper() in sets and word.upper() != name:
            members += _members(sets, word.upper()).tolist()
        else:
            raise MeshError(f"set {name!r} names {word!r}, which does not exist")
    return np.array(members, np.int64)


def _facets(
    given: _Input,
    name: str,
    rows: list[list[str]],
    cells: list[tuple[str, IntArray]],
    cell_at: Callable[[IntArray], IntArray],
    starts: IntArray,
    lost: list[str],
) -> list[tuple[str, IntArray]]:
    """Nodes of the facets of a surface, by type."""
    found: dict[str, list[IntArray]] = {}
    for words in rows:
        match = _FACE.fullmatch(words[1].upper()) if len(words) > 1 else None
        if match is None:
            lost.append(f"a part of surface {name!r} that names no face")
            continue
        ids = (
            np.array([int(words[0])])
            if words[0].isdigit()
            else _members(given.sets["ELSET"], words[0].upper())
        )
        for cell in cell_at(ids):
            block = int(np.searchsorted(starts, cell, side="right") - 1)
            family = re.sub(r"\d+", "", cells[block][0])
            nodes = cells[block][1][cell - starts[block]][list(FACES[family][int(match[2]) - 1])]
            kind = {1: "vertex", 2: "line", 3: "triangle", 4: "quad"}[len(nodes)]
            found.setdefault(kind, []).append(nodes)
    return [(kind, np.stack(parts)) for kind, parts in found.items()]
