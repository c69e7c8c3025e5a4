"""Nastran bulk data (.bdf, .nas): property ids are tags, their names are comments.

Cells and tagged facets (as elements of lower dimension) that are in the same tags share a property.
A comment `$ tag <property> <name>` names it; HyperMesh's `$HMNAME COMP` is read too. There is no
place for point tags and fields. Coordinates take a field of 16 characters, all that Nastran has:
11 to 15 digits survive.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import meshio
import numpy as np

from ..cells import CELL_TYPES
from ..convert.arrays import cell_blocks, points3, tags_of, unique_facets
from ..errors import MeshError
from ..mesh import Mesh
from .losing import losing
from .references import add_sets, references
from .text import runs, write_table

_TYPES = {
    "CROD": {2: "line"},
    "CBAR": {2: "line"},
    "CBEAM": {2: "line"},
    "CTUBE": {2: "line"},
    "PLOTEL": {2: "line"},
    "CTRIA3": {3: "triangle"},
    "CTRIAR": {3: "triangle"},
    "CTRIA6": {3: "triangle", 6: "triangle"},
    "CQUAD4": {4: "quad"},
    "CQUADR": {4: "quad"},
    "CQUAD8": {4: "quad", 8: "quad"},
    "CTETRA": {4: "tetra", 10: "tetra"},
    "CPYRA": {5: "pyramid", 13: "pyramid"},
    "CPYRAM": {5: "pyramid", 13: "pyramid"},
    "CPENTA": {6: "wedge", 15: "wedge"},
    "CHEXA": {8: "hexahedron", 20: "hexahedron"},
}
_KEYWORD = {
    "line": "CROD",
    "triangle": "CTRIA3",
    "quad": "CQUAD4",
    "tetra": "CTETRA",
    "pyramid": "CPYRAM",
    "wedge": "CPENTA",
    "hexahedron": "CHEXA",
}
_TAG = re.compile(r"\$ tag (\d+) (.+)")
_HYPERMESH = re.compile(r'\$HMNAME (?:COMP|PROP)\s+(\d+)"([^"]+)"')
_SHORT_REAL = re.compile(r"(?<=[\d.])([+-]\d+)$")
_OTHER = re.compile(r"C(ELAS|BUSH|GAP|SHEAR|DAMP|FAST)|RBE|RBAR")
_FIRST_IN_LINE = 6
_WIDTH = 16


def read(path: Path, lost: list[str]) -> meshio.Mesh:
    """Grid points, elements and properties."""
    names: dict[int, list[str]] = {}
    untagged = {0}
    cards: list[list[str]] = []
    ended = False
    lines = path.read_text(errors="replace").splitlines()
    begin = [i for i, line in enumerate(lines) if re.match(r"\s*BEGIN\s+BULK", line, re.IGNORECASE)]
    for line in lines[begin[0] + 1 if begin else 0 :]:
        if line.startswith("$"):
            tag = _TAG.match(line) or _HYPERMESH.match(line)
            if tag:
                names.setdefault(int(tag[1]), []).append(tag[2].strip())
            elif line.startswith("$ untagged "):
                untagged.add(int(line.split()[2]))
        elif line.strip().upper().startswith("ENDDATA"):
            ended = True
            break
        elif line.strip():
            _add(cards, line)
    if not ended:
        raise MeshError("the file ends before ENDDATA")
    return _mesh(cards, names, frozenset(untagged), lost)


def _add(cards: list[list[str]], line: str) -> None:
    """Split a line into fields; a continuation is added to the card before it."""
    line = line.split("$")[0].rstrip()
    if "," in line:
        fields = [word.strip() for word in line.split(",")]
        head, body = fields[0], fields[1:9]
        body += [""] * (8 - len(body)) if not head.endswith("*") else [""] * (4 - len(body[:4]))
    else:
        line = line.expandtabs(8)
        head = line[:8].strip()
        width = 16 if head.endswith("*") else 8
        count = 64 // width
        body = [line[8 + i * width : 8 + (i + 1) * width].strip() for i in range(count)]
    if head[:1] in ("+", "*", ""):
        if not cards:
            raise MeshError("the bulk data begins with a continuation line")
        cards[-1] += body
    else:
        cards.append([head.rstrip("*").upper(), *body])


def _mesh(
    cards: list[list[str]], names: dict[int, list[str]], untagged: frozenset[int], lost: list[str]
) -> meshio.Mesh:
    grid = [card for card in cards if card[0] == "GRID"]
    if any(card[2] not in ("", "0") for card in grid):
        raise MeshError("it has grid points in a local coordinate system; resolve them first")
    if any(card[0] == "INCLUDE" for card in cards):
        raise MeshError("INCLUDE is not supported; put the bulk data in one file")
    number = {int(card[1]): i for i, card in enumerate(grid)}
    if len(number) != len(grid):
        raise MeshError("a grid point is defined twice")
    points = np.array([[real(word) for word in card[3:6]] for card in grid]).reshape(-1, 3)
    elements = [
        (card[0], [w for w in card[3:] if w], card[2]) for card in cards if card[0] in _TYPES
    ]
    lost += sorted({f"the {card[0]} elements" for card in cards if _OTHER.match(card[0])})
    lines = ("CROD", "CBAR", "CBEAM", "CTUBE", "PLOTEL")
    keys = [(kind, 2 if kind in lines else len(nodes)) for kind, nodes, _ in elements]
    blocks, refs = [], []
    for start, stop in runs(keys):
        kind, size = keys[start]
        size = max((n for n in _TYPES[kind] if n <= size), default=0)
        if size == 0:
            raise MeshError(f"a {kind} has only {keys[start][1]} grid points")
        try:
            rows = [
                [number[int(word)] for word in nodes[:size]] for _, nodes, _ in elements[start:stop]
            ]
        except KeyError as error:
            raise MeshError(f"a {kind} uses grid point {error}, which does not exist") from error
        blocks.append((_TYPES[kind][size], np.array(rows)))
        refs.append(np.array([int(ref or 0) for _, _, ref in elements[start:stop]]))
    m = meshio.Mesh(points, blocks)
    for i, ref in enumerate(refs):
        add_sets(m, i, ref, names, untagged)
    return m


def real(word: str) -> float:
    """A real number as Nastran writes it: 1.5, 1.5E-3, 1.5D-3 or 1.5-3."""
    if not word:
        return 0.0
    word = word.upper().replace("D", "E")
    return float(word if "E" in word or "N" in word else _SHORT_REAL.sub(r"E\1", word))


def write(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
    """Grid points, elements and properties."""
    losing(mesh, lost, facet_tags=mesh.cell_dim == 1, point_tags=True, fields=True)
    reserved: set[int] = set()
    tags = tags_of(mesh, "cell")
    refs, pairs = references(tags, mesh.num_cells, reserved)
    cuts = np.cumsum([len(nodes) for _, nodes in cell_blocks(mesh)])[:-1]
    parts = [
        (name, nodes, ref)
        for (name, nodes), ref in zip(cell_blocks(mesh), np.split(refs, cuts), strict=True)
    ]
    facets, members = unique_facets(mesh) if mesh.cell_dim > 1 else ({}, {})
    for kind, nodes in facets.items():
        own = {tag: rows[kind] for tag, rows in members.items() if kind in rows}
        ref, more = references(own, len(nodes), reserved)
        parts.append((kind, nodes, ref))
        pairs += more
    lost += [f"the empty facet tag {tag!r}" for tag, rows in members.items() if not rows]
    lost += [f"the empty cell tag {tag!r}" for tag, rows in tags.items() if not len(rows)]
    none = max(reserved, default=0) + 1  # a property id has to be positive
    with path.open("wb") as file:
        file.write(b"$ written by meshlearn\nBEGIN BULK\n")
        file.write("".join(f"$ tag {ref} {name}\n" for ref, name in pairs).encode())
        file.write(f"$ untagged {none}\n".encode())
        for i, x in enumerate(points3(mesh).tolist(), 1):
            a, b, c = (real_field(value) for value in x)
            file.write(f"GRID*   {i:<16d}{'':16s}{a:>16s}{b:>16s}\n*       {c:>16s}\n".encode())
        done = 1
        for kind, nodes, ref in parts:
            number = np.arange(done, done + len(nodes))
            write_table(file, _row(kind), number, np.where(ref == 0, none, ref), nodes + 1)
            done += len(nodes)
        file.write(b"ENDDATA\n")


def _row(kind: str) -> str:
    """%-format of an element card in fields of 8."""
    size = CELL_TYPES[kind].num_nodes
    first = "%-8d" * min(size, _FIRST_IN_LINE)
    rest = "+\n+       " + "%-8d" * (size - _FIRST_IN_LINE) if size > _FIRST_IN_LINE else ""
    return f"{_KEYWORD[kind]:<8s}%-8d%-8d{first}{rest}\n"


def real_field(value: float, width: int = _WIDTH) -> str:
    """The `width` characters that come nearest to `value`."""
    if not math.isfinite(value):
        raise MeshError("Nastran has no numbers that are not finite; correct the positions")
    # from .01 on fixed notation holds more digits than an exponent does: ".0123", "1.23-2"
    form = "g" if value == 0 or 0.01 <= abs(value) < 1e14 else "E"
    digits, word = width, ""
    while not word or len(word) > width:
        mantissa, _, exponent = f"{value:.{digits}{form}}".upper().partition("E")
        if "." not in mantissa:
            mantissa += "."
        if mantissa.startswith(("0.", "-0.")) and len(mantissa.lstrip("-")) > 2:
            mantissa = mantissa.replace("0.", ".", 1)
        word = mantissa + (f"{int(exponent):+d}" if exponent else "")
        digits -= 1
    return word
