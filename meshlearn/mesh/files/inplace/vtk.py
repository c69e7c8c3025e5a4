"""Coordinates in VTK files: legacy (.vtk), and XML (.vtu) in text, base64, raw, compressed or not.

The size of compressed points may change: then the offsets of the arrays behind them change too.
"""

from __future__ import annotations

import base64
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeshError
from ..vtk_legacy import find_points
from ..vtu import DTYPES, Arrays
from .slots import BinarySlots, FloatArray, Splice, TextSlots, tokens

_POINTS = re.compile(rb"<Points\b[^>]*>\s*<DataArray\b([^>]*?)/?>([^<]*)", re.DOTALL)
_ATTRIBUTE = re.compile(rb"([\w:]+)\s*=\s*[\"']([^\"']*)[\"']")
_OFFSET = re.compile(rb"<(?:DataArray|Array)\b[^>]*?\boffset\s*=\s*[\"'](\d+)[\"']", re.DOTALL)
_BLOCK = 1 << 15
_DEFLATE: dict[str, Callable[[bytes], bytes]] = {
    "vtkZLibDataCompressor": zlib.compress,
    "vtkLZMADataCompressor": lzma.compress,
}


def legacy(path: Path) -> TextSlots | BinarySlots:
    """The section POINTS."""
    raw = path.read_bytes()
    start, count, dtype, text = find_points(raw)
    if text:
        words = tokens(raw, start, len(raw))
        begin, end = (side[: 3 * count].reshape(count, 3) for side in (words.begin, words.end))
        return TextSlots(raw, begin, end, _shortest(dtype))
    stored = np.frombuffer(raw, dtype.newbyteorder(">"), 3 * count, start).reshape(count, 3)

    def encode(points: FloatArray) -> list[Splice]:
        return [(start, start + stored.nbytes, points.astype(stored.dtype).tobytes())]

    return BinarySlots(raw, stored.astype(np.float64), encode)


def xml(path: Path) -> TextSlots | BinarySlots:
    """The array in Points of each piece."""
    raw = path.read_bytes()
    grid = Arrays(raw).root.find("UnstructuredGrid")
    if grid is None:
        raise MeshError("it holds no unstructured grid")
    appended = raw.find(b"<AppendedData")
    found = [
        match
        for match in _POINTS.finditer(raw, 0, appended if appended >= 0 else len(raw))
        if _attributes(match).get("NumberOfComponents", "3") == "3"
    ]
    forms = {_attributes(match).get("format", "ascii") for match in found}
    if len(found) != len(grid.findall("Piece")) or len(forms) != 1:
        raise MeshError("cannot find the points of each piece")
    if forms == {"ascii"}:
        return _ascii(raw, found)
    return _packed(raw, found, appended)


def _ascii(raw: bytes, found: list[re.Match[bytes]]) -> TextSlots:
    begins, ends = [], []
    for match in found:
        words = tokens(raw, match.start(2), match.end(2))
        begins.append(words.begin.reshape(-1, 3))
        ends.append(words.end.reshape(-1, 3))
    dtype = np.dtype(DTYPES[_attributes(found[0])["type"]])
    return TextSlots(raw, np.concatenate(begins), np.concatenate(ends), form=_shortest(dtype))


def _packed(raw: bytes, found: list[re.Match[bytes]], appended: int) -> BinarySlots:
    packing = _Packing.of(raw, appended)
    places = [packing.place(raw, match, appended) for match in found]
    dtypes = [np.dtype(packing.order + DTYPES[_attributes(match)["type"]]) for match in found]
    tables = [
        np.frombuffer(packing.unpack(raw[a:b]), dtype).reshape(-1, 3)
        for (a, b), dtype in zip(places, dtypes, strict=True)
    ]

    def encode(points: FloatArray) -> list[Splice]:
        parts = np.split(points, np.cumsum([len(table) for table in tables])[:-1])
        splices = [
            (a, b, packing.pack(part.astype(dtype).tobytes(), raw[a:b]))
            for (a, b), part, dtype in zip(places, parts, dtypes, strict=True)
        ]
        if packing.inline:
            return splices
        return [*_new_offsets(raw, appended, splices), *splices]

    return BinarySlots(raw, np.concatenate(tables).astype(np.float64), encode)


def _new_offsets(raw: bytes, appended: int, splices: list[Splice]) -> Iterator[Splice]:
    """Offsets of arrays that are behind points of another size than before."""
    first = raw.find(b"_", appended) + 1
    for match in _OFFSET.finditer(raw, 0, appended):
        old = int(match[1])
        shift = sum(len(text) - (b - a) for a, b, text in splices if a - first < old)
        if shift:
            yield match.start(1), match.end(1), str(old + shift).encode()


@dataclass(frozen=True)
class _Packing:
    """How the arrays of a file are packed.

    Attributes:
        order: byte order.
        head: type of the numbers in front of an array.
        compressor: VTK's name, or "".
        inline: whether arrays are in their elements.
        coded: whether they are in base64.
    """

    order: str
    head: np.dtype[Any]
    compressor: str
    inline: bool
    coded: bool

    @classmethod
    def of(cls, raw: bytes, appended: int) -> _Packing:
        arrays = Arrays(raw)
        compressor = arrays.root.get("compressor") or ""
        inline = appended < 0
        return cls(arrays.order, arrays.head, compressor, inline, inline or not arrays.raw)

    def place(self, raw: bytes, match: re.Match[bytes], appended: int) -> tuple[int, int]:
        """Begin and end of an array."""
        if self.inline:
            text = match[2]
            begin = match.start(2) + len(text) - len(text.lstrip())
            end = match.end(2) - (len(text) - len(text.rstrip()))
        else:
            begin = raw.find(b"_", appended) + 1 + int(_attributes(match)["offset"])
            end = begin + self._length(memoryview(raw)[begin:])
        if self.coded and len(raw[begin:end].split()) > 1:
            raise MeshError("white space parts its base64 text; save it as appended data")
        return begin, end

    def unpack(self, stored: bytes | memoryview) -> bytes:
        """The bytes of an array."""
        if not self.compressor:
            blob = base64.b64decode(stored) if self.coded else stored
            return bytes(blob[self.head.itemsize :])
        width = self._head_width(stored)
        sizes = self._heads(stored)[3:]
        body = base64.b64decode(stored[width:]) if self.coded else stored[width:]
        starts = np.cumsum([0, *sizes]).tolist()
        inflate = zlib.decompress if "ZLib" in self.compressor else lzma.decompress
        return b"".join(inflate(body[a:b]) for a, b in pairwise(starts))

    def pack(self, payload: bytes, stored: bytes) -> bytes:
        """The same, with other bytes, in blocks of the size that they had."""
        if not self.compressor:
            blob = np.array([len(payload)], self.head).tobytes() + payload
            return base64.b64encode(blob) if self.coded else blob
        block = int(self._heads(stored)[1]) or _BLOCK
        deflate = _DEFLATE[self.compressor]
        parts = [deflate(payload[k : k + block]) for k in range(0, len(payload), block)]
        counts = [len(parts), block, len(payload) % block, *map(len, parts)]
        head, body = np.array(counts, self.head).tobytes(), b"".join(parts)
        return base64.b64encode(head) + base64.b64encode(body) if self.coded else head + body

    def _length(self, stored: bytes | memoryview) -> int:
        heads = self._heads(stored)
        if not self.compressor:
            size = self.head.itemsize + int(heads[0])
            return _coded(size) if self.coded else size
        body = int(heads[3:].sum())
        return self._head_width(stored) + (_coded(body) if self.coded else body)

    def _heads(self, stored: bytes | memoryview) -> NDArray[np.int64]:
        first = self._numbers(stored, 1)
        return self._numbers(stored, 3 + int(first[0])) if self.compressor else first

    def _head_width(self, stored: bytes | memoryview) -> int:
        size = len(self._heads(stored)) * self.head.itemsize
        return _coded(size) if self.coded else size

    def _numbers(self, stored: bytes | memoryview, count: int) -> NDArray[np.int64]:
        size = count * self.head.itemsize
        blob = base64.b64decode(stored[: _coded(size)]) if self.coded else stored
        return np.frombuffer(blob, self.head, count).astype(np.int64)


def _coded(size: int) -> int:
    """Length of `size` bytes in base64."""
    return 4 * -(-size // 3)


def _attributes(match: re.Match[bytes]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in _ATTRIBUTE.findall(match[1])}


def _shortest(dtype: np.dtype[Any]) -> Callable[[float, int], str]:
    """Digits that give a number of this type back."""
    if dtype.itemsize == 4:
        return lambda value, width: str(np.float32(value))
    return lambda value, width: repr(value)
