"""Coordinates in SU2, Abaqus, Medit and Nastran files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import MeshError
from ..nastran import real, real_field
from .slots import TextSlots, tokens

_SU2_KEY = re.compile(
    rb"^[ \t]*(NDIME|NPOIN)[ \t]*=[ \t]*(\d+)[^\n]*", re.MULTILINE | re.IGNORECASE
)
_SU2_NEXT = re.compile(rb"^[ \t]*[^%\s][^\n]*=", re.MULTILINE)
_ABAQUS_KEY = re.compile(rb"^[ \t]*\*(?!\*)[ \t]*([^,\n]*)[^\n]*", re.MULTILINE)
_MEDIT_KEY = re.compile(rb"^[ \t]*(?!nan\b|inf\b)([A-Za-z]\w*)", re.MULTILINE | re.IGNORECASE)
_MEDIT_COMMENT = re.compile(rb"#[^\n]*")
_BEGIN_BULK = re.compile(rb"^[ \t]*BEGIN[ \t]+BULK[^\n]*", re.MULTILINE | re.IGNORECASE)
_END_DATA = re.compile(rb"^[ \t]*ENDDATA", re.MULTILINE | re.IGNORECASE)
_GRID = re.compile(rb"^GRID(\*?)([ \t,])[^\n]*", re.MULTILINE | re.IGNORECASE)
_SMALL, _LARGE = 8, 16


def su2(path: Path) -> TextSlots:
    """The lines of NPOIN."""
    raw = path.read_bytes()
    found = {match[1].upper(): match for match in _SU2_KEY.finditer(raw)}
    if b"NDIME" not in found or b"NPOIN" not in found:
        raise MeshError("it lacks NDIME or NPOIN")
    dim, begin = int(found[b"NDIME"][2]), found[b"NPOIN"].end()
    following = _SU2_NEXT.search(raw, begin)
    words = tokens(raw, begin, following.start() if following else len(raw), comment=b"%")
    return TextSlots(raw, *words.rows(dim, int(found[b"NPOIN"][2]), "NPOIN"))


def abaqus(path: Path) -> TextSlots:
    """The data lines of all *NODE keywords."""
    raw = path.read_bytes()
    keys = list(_ABAQUS_KEY.finditer(raw))
    stops = [key.start() for key in keys[1:]] + [len(raw)]
    begins, ends = [], []
    for key, stop in zip(keys, stops, strict=True):
        if key[1].strip().upper() != b"NODE":
            continue
        words = tokens(raw, key.end(), stop, separators=b",", comment=b"**")
        count = len(np.unique(words.line))
        if not count:
            continue
        width = int((words.line == words.line[0]).sum())
        begin, end = words.rows(min(width, 4), count, "*NODE")
        begins.append(begin[:, 1:])
        ends.append(end[:, 1:])
    widths = {begin.shape[1] for begin in begins}
    if len(widths) != 1:
        raise MeshError("its *NODE lines have no or unequally many coordinates")
    return TextSlots(raw, np.concatenate(begins), np.concatenate(ends))


def medit(path: Path) -> TextSlots:
    """The section Vertices."""
    raw = path.read_bytes()
    plain = _MEDIT_COMMENT.sub(lambda match: b" " * len(match[0]), raw)
    keys = list(_MEDIT_KEY.finditer(plain))
    stops = [key.start() for key in keys[1:]] + [len(raw)]
    section = {key[1]: (key.end(), stop) for key, stop in zip(keys, stops, strict=True)}
    if b"Dimension" not in section or b"Vertices" not in section:
        raise MeshError("it lacks Dimension or Vertices")
    dim = int(plain[slice(*section[b"Dimension"])])
    words = tokens(plain, *section[b"Vertices"])
    count = int(plain[words.begin[0] : words.end[0]])
    shape = (count, dim + 1)
    if len(words.begin) - 1 != count * (dim + 1):
        raise MeshError("the section Vertices is not complete")
    begin, end = (side[1:].reshape(shape)[:, :dim] for side in (words.begin, words.end))
    return TextSlots(raw, begin, end)


def nastran(path: Path) -> TextSlots:
    """The coordinates of all GRID cards; each keeps its width: 8 characters hold few digits."""
    raw = path.read_bytes()
    bulk = _BEGIN_BULK.search(raw)
    start = bulk.end() if bulk else 0
    ended = _END_DATA.search(raw, start)
    stop = ended.start() if ended else len(raw)
    cards = [_card(raw, match) for match in _GRID.finditer(raw, start, stop)]
    if not cards:
        raise MeshError("there are no GRID cards")
    begin, end, width = np.moveaxis(np.array(cards), 2, 0)
    return TextSlots(raw, begin, end, _field, real, width)


def _field(value: float, width: int) -> str:
    """A number in a fixed field (`width` characters), or in free format (at most -`width`)."""
    return f"{real_field(value, width):>{width}s}" if width > 0 else real_field(value, -width)


def _card(raw: bytes, match: re.Match[bytes]) -> list[tuple[int, int, int]]:
    """Begin, end and width of x, y and z."""
    lines = [(match.start(), match[0].rstrip(b"\r"))]
    width = _LARGE if match[1] else _SMALL
    if match[1]:  # the second half is on the next line
        begin = match.end() + 1
        stop = raw.find(b"\n", begin)
        lines.append((begin, raw[begin : len(raw) if stop < 0 else stop].rstrip(b"\r")))
    fields = _free if b"," in match[0] else _fixed
    return list(fields(lines, width))


def _fixed(lines: list[tuple[int, bytes]], width: int) -> Iterator[tuple[int, int, int]]:
    """Fields 3 to 5 of a card: 8 characters, then fields of `width`, 64 characters a line."""
    for field in (2, 3, 4):
        row, column = divmod(field * width, 64)
        begin, text = lines[row]
        if b"\t" in text:
            raise MeshError("it has GRID cards with tabs; put spaces in their place")
        if not text[8 + column : 8 + column + width].strip():
            raise MeshError("a GRID card leaves out a coordinate; write its zero")
        yield begin + 8 + column, begin + min(8 + column + width, len(text)), width


def _free(lines: list[tuple[int, bytes]], width: int) -> Iterator[tuple[int, int, int]]:
    """Fields 3 to 5 of a card, parted by commas."""
    for field in (2, 3, 4):
        row, column = divmod(field * width, 64)
        begin, text = lines[row]
        words = text.split(b",")
        place = 1 + column // width
        if place >= len(words) or not words[place].strip():
            raise MeshError("a GRID card leaves out a coordinate; write its zero")
        at = begin + sum(len(word) + 1 for word in words[:place])
        yield at, at + len(words[place]), -width
