"""OpenFOAM's files: header, dictionaries and lists, as text or binary, compressed or not."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...mesh import MeshError
from ...mesh.files.replacing import replacing

Array = NDArray[Any]

_HEADER = re.compile(rb"FoamFile\s*\{(.*?)\}", re.DOTALL)
_ENTRY = re.compile(rb"([\w.]+)\s+(\"[^\"]*\"|[^;]*);")
_SKIP = re.compile(rb"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_WORD = re.compile(rb'"[^"\n]*"|[^\s;{}()"]+')
_COUNT = re.compile(rb"(\d+)\s*\(")
_LIST = re.compile(rb"(?:nonuniform\s+)?(?:List<(\w+)>\s*)?(\d+)\s*\(")
COMPONENTS = {"scalar": 1, "vector": 3, "sphericalTensor": 1, "symmTensor": 6, "tensor": 9}
_SPACES = bytes.maketrans(b"()", b"  ")


@dataclass(frozen=True)
class FoamFile:
    """A file of a case.

    Attributes:
        path: the file; its name ends in .gz where it is compressed.
        raw: its bytes, decompressed.
        header: the entries of `FoamFile`.
        body: where the header ends.
    """

    path: Path
    raw: bytes
    header: dict[str, str]
    body: int

    @property
    def binary(self) -> bool:
        """Whether lists are binary."""
        return self.header.get("format", "ascii") == "binary"

    def dtype(self, kind: str) -> np.dtype[Any]:
        """Type of a "label" or "scalar" in binary lists."""
        arch = self.header.get("arch", "LSB;label=32;scalar=64").strip('"')
        bits = dict(part.split("=") for part in arch.split(";") if "=" in part)
        order = ">" if "MSB" in arch else "<"
        code = "i" if kind == "label" else "f"
        return np.dtype(f"{order}{code}{int(bits.get(kind, 32 if kind == 'label' else 64)) // 8}")

    def skip(self, at: int) -> int:
        """Past white space and comments."""
        match = _SKIP.match(self.raw, at)
        assert match is not None
        return match.end()

    def write(self, raw: bytes, path: Path | None = None) -> None:
        """Replace the file at once, or write another one, compressed if the name says so.

        Args:
            raw: the bytes.
            path: where to; by default this file.
        """
        path = self.path if path is None else path
        with replacing(path) as temporary:
            temporary.write_bytes(packed(raw, path))


def packed(raw: bytes, path: Path) -> bytes:
    """The bytes as a file of this name holds them."""
    return gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw


def find(folder: Path, name: str) -> Path | None:
    """A file or its compressed form; None where there is neither."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def load(path: Path) -> FoamFile:
    """Read a file.

    Raises:
        MeshError: it is not one of OpenFOAM's, or damaged.
    """
    try:
        stored = path.read_bytes()
        raw = gzip.decompress(stored) if path.suffix == ".gz" else stored
    except (OSError, EOFError) as error:
        raise MeshError(f"cannot read {path}: {error}") from error
    match = _HEADER.search(raw)
    if match is None:
        raise MeshError(f"{path} has no FoamFile header, so it is not a file of OpenFOAM")
    header = {k.decode(): v.decode().strip() for k, v in _ENTRY.findall(match[1])}
    return FoamFile(path, raw, header, match.end())


def labels(file: FoamFile, at: int | None = None) -> tuple[NDArray[np.int64], int]:
    """A list of labels, and where it ends.

    Raises:
        MeshError: it is not complete.
    """
    count, begin = list_head(file, file.body if at is None else at)
    if file.binary:
        dtype = file.dtype("label")
        end = begin + count * dtype.itemsize
        check_end(file, end)
        return np.frombuffer(file.raw, dtype, count, begin).astype(np.int64), end + 1
    end = file.raw.find(b")", begin)
    values = numbers(file, begin, end, np.int64)
    if end < 0 or len(values) != count:
        raise MeshError(f"{file.path}: a list announces {count} labels but holds {len(values)}")
    return values, end + 1


def faces(file: FoamFile) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A list of faces: where each begins `[n + 1]`, and the points of all.

    Raises:
        MeshError: it is not complete.
    """
    if file.header.get("class") == "faceCompactList":
        offsets, at = labels(file)
        nodes, _ = labels(file, at)
        return offsets, nodes
    count, begin = list_head(file, file.body)
    end = file.raw.rfind(b")")
    sizes = np.array([int(size) for size in _COUNT.findall(file.raw, begin, end)], np.int64)
    values = numbers(file, begin, end, np.int64)
    if len(sizes) != count or len(values) != sizes.sum() + count:
        raise MeshError(f"{file.path}: it announces {count} faces but is not complete")
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return offsets, np.delete(values, offsets[:-1] + np.arange(count))


def list_head(file: FoamFile, at: int) -> tuple[int, int]:
    """Number of entries of a list, and where the first one begins.

    Raises:
        MeshError: there is no list.
    """
    match = _COUNT.match(file.raw, file.skip(at))
    if match is None:
        raise MeshError(f"{file.path}: expected a list after its header")
    return int(match[1]), match.end()


def check_end(file: FoamFile, end: int) -> None:
    """That a binary list is closed there.

    Raises:
        MeshError: it is not; the file is cut, or its `arch` entry is wrong.
    """
    if file.raw[end : end + 1] != b")":
        raise MeshError(f"{file.path}: a binary list does not end where it should")


def numbers(file: FoamFile, begin: int, end: int, dtype: Any) -> Array:
    """All numbers between two places, whatever the parentheses."""
    text = file.raw[begin : max(end, begin)].translate(_SPACES)
    try:
        return np.array(text.split(), dtype=dtype)
    except ValueError as error:
        raise MeshError(f"{file.path}: a list holds what is no number ({error})") from error


@dataclass(frozen=True)
class Value:
    """The value of an entry.

    Attributes:
        begin, end: where it is.
        kind: "vector", ... of a list of numbers; "" for others.
        count: entries of such a list.
        first: where they begin.
    """

    begin: int
    end: int
    kind: str = ""
    count: int = 0
    first: int = 0


Dictionary = dict[str, "Value | Dictionary"]


def dictionary(file: FoamFile, at: int | None = None) -> Dictionary:
    """The entries of a file, or of a dictionary whose `{` is before `at`, with nested ones.

    Raises:
        MeshError: it does not end.
    """
    return _dictionary(file, file.body if at is None else at)[0]


def _dictionary(file: FoamFile, at: int) -> tuple[Dictionary, int]:
    found: Dictionary = {}
    raw = file.raw
    while (at := file.skip(at)) < len(raw):
        if raw[at : at + 1] == b"}":
            return found, at + 1
        if raw[at : at + 1] in (b"#", b"$"):  # directives: to the end of the line or entry
            at = min(x for x in (raw.find(b"\n", at), raw.find(b";", at), len(raw)) if x >= 0) + 1
            continue
        match = _WORD.match(raw, at)
        if match is None:
            at += 1
            continue
        name, at = match[0].decode(errors="replace").strip('"'), file.skip(match.end())
        if raw[at : at + 1] == b"{":
            found[name], at = _dictionary(file, at + 1)
        else:
            value = _value(file, at)
            found[name], at = value, value.end + 1
    return found, at


def _value(file: FoamFile, at: int) -> Value:
    """A value up to its semicolon, past lists whose binary numbers may hold one."""
    match = _LIST.match(file.raw, at)
    if match is not None and match[1] is not None:
        kind, count = match[1].decode(), int(match[2])
        first = match.end()
        if file.binary and kind in COMPONENTS:
            end = first + count * COMPONENTS[kind] * file.dtype("scalar").itemsize
            check_end(file, end)
        else:
            end = _closing(file, first)
        return Value(at, file.raw.find(b";", end), kind, count, first)
    end = file.raw.find(b";", at)
    if end < 0:
        raise MeshError(f"{file.path}: an entry has no end")
    return Value(at, end)


def _closing(file: FoamFile, at: int) -> int:
    """Where the parenthesis before `at` is closed."""
    depth = 1
    for match in re.finditer(rb"[()]", file.raw[at:]):
        depth += 1 if match[0] == b"(" else -1
        if depth == 0:
            return at + match.start()
    raise MeshError(f"{file.path}: a list has no end")


def text(file: FoamFile, value: Value) -> str:
    """The text of a value."""
    return file.raw[value.begin : value.end].decode(errors="replace").strip()


def entries(found: Dictionary) -> Iterator[tuple[str, Dictionary]]:
    """The nested dictionaries by name."""
    for name, value in found.items():
        if isinstance(value, dict):
            yield name, value
