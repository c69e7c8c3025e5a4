"""An MSH file as a stream of lines and numbers that knows when it ends too soon."""

from __future__ import annotations

import os
import re
import warnings
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import MeshError
from .types import Msh

_NAME = re.compile(r'\s*(\d+)\s+(-?\d+)\s+"(.*)"\s*$')


class Source:
    """Reads numbers as text or binary, as the header of the file says.

    Attributes:
        file: the open file.
        version: 2.2, 4.1, ...
        text: whether numbers are text.
        swapped: whether binary numbers have the other byte order.
        section: name of the section being read, for messages.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        self.section = "MeshFormat"
        self.swapped = False
        if self.line() != "$MeshFormat":
            raise MeshError("it does not begin with $MeshFormat, so it is not a gmsh mesh")
        head = self.line().split()
        self.version, self.text, self.size_t = float(head[0]), int(head[1]) == 0, int(head[2])
        if not self.text:
            one = self.take("i4", 1)[0]
            self.swapped = one != 1
            if one not in (1, 1 << 24):
                raise MeshError("the binary header is damaged")
        self.close()

    def line(self) -> str:
        """The next line that is not blank, stripped."""
        while True:
            raw = self.file.readline()
            if not raw:
                raise MeshError(f"the file ends inside ${self.section}")
            text = raw.decode("utf-8", "replace").strip()
            if text:
                return text

    def next_section(self) -> str | None:
        """Name of the next section, None at the end of the file."""
        while raw := self.file.readline():
            text = raw.decode("utf-8", "replace").strip()
            if text.startswith("$"):
                self.section = text[1:]
                return self.section
            if text:
                raise MeshError(f"expected a section after ${self.section}, found {text[:40]!r}")
        return None

    def close(self) -> None:
        """Read the end of the section."""
        found = self.line()
        if found != f"$End{self.section}":
            raise MeshError(f"${self.section} is not closed, found {found[:40]!r}")

    def skip(self) -> None:
        """Pass over a section of which nothing is needed."""
        end = f"$End{self.section}".encode()
        while raw := self.file.readline():
            if raw.strip() == end:
                return
        raise MeshError(f"the file ends inside ${self.section}")

    def take(self, dtype: str, count: int) -> NDArray[Any]:
        """The next `count` numbers `[count]`."""
        count = int(count)
        kind = np.dtype(dtype)
        if count < 0 or count * (2 if self.text else kind.itemsize) > self.left() + 1:
            raise MeshError(f"the file ends inside ${self.section}")
        if self.text:
            with warnings.catch_warnings():  # numpy deprecates stopping at what is not a number
                warnings.simplefilter("ignore", DeprecationWarning)
                values = np.fromfile(self.file, kind, count, sep=" ")
        else:
            stored = kind.newbyteorder("S") if self.swapped else kind
            values = np.fromfile(self.file, stored, count).astype(kind, copy=False)
        if len(values) != count:
            raise MeshError(f"the file ends inside ${self.section}")
        return values

    def integer(self) -> int:
        """A line that is one integer."""
        return int(self.line())

    def left(self) -> int:
        """Bytes up to the end of the file."""
        return self.size - self.file.tell()

    def text_section(self) -> bytes:
        """What is left of the section as text."""
        start = self.file.tell()
        rest = self.file.read()
        end = rest.find(f"$End{self.section}".encode())
        if end < 0:
            raise MeshError(f"the file ends inside ${self.section}")
        self.file.seek(start + end)
        return rest[:end]


def read_names(source: Source, msh: Msh) -> None:
    """Section `$PhysicalNames`."""
    for _ in range(source.integer()):
        line = source.line()
        match = _NAME.match(line)
        if match is None:
            raise MeshError(f"cannot understand the physical name {line[:40]!r}")
        msh.names[int(match[1]), int(match[2])] = match[3]
    source.close()


def read_data(source: Source, kind: str, msh: Msh, lost: list[str]) -> None:
    """Section `$NodeData` or `$ElementData`, of which the last time step is kept.

    Integer tags after the fourth are the trailing shape of the field, which this package adds
    where gmsh has to store more components (see `writer`).
    """
    strings = [source.line() for _ in range(source.integer())]
    name = strings[0].strip('"') if strings else "data"
    for _ in range(source.integer()):
        source.line()
    integers = [int(source.line()) for _ in range(source.integer())]
    components, count, shape = integers[1], integers[2], tuple(integers[4:])
    if source.text:
        table = source.take("f8", count * (components + 1)).reshape(count, components + 1)
        number, values = table[:, 0].astype(np.int64), np.ascontiguousarray(table[:, 1:])
    else:
        width = 4 + 8 * components
        raw = source.take("u1", count * width).reshape(count, width)
        number = _unpack(raw[:, :4], "i4", source.swapped)[:, 0].astype(np.int64)
        values = _unpack(raw[:, 4:], "f8", source.swapped)
    source.close()
    if len(integers) > 4:
        values = values[:, : int(np.prod(shape))].reshape(count, *shape)
    elif components == 1:
        values = values[:, 0]
    if (kind, name) in msh.data:
        lost.append(f"all but the last time step of {name!r}")
    msh.data[kind, name] = number, values


def _unpack(raw: NDArray[np.uint8], dtype: str, swapped: bool) -> NDArray[Any]:
    stored = np.dtype(dtype).newbyteorder("S") if swapped else np.dtype(dtype)
    return raw.copy().view(stored).astype(dtype, copy=False)
