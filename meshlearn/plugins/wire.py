"""Messages between a client and `meshlearn serve`: a JSON header and raw arrays, nothing else.

A message is

    4 bytes   b"MLRN"
    4 bytes   length of the header, unsigned, little-endian
    8 bytes   length of the arrays together, unsigned, little-endian
    header    JSON in UTF-8: {"kind": ..., "arrays": [{"name", "dtype", "shape"}, ...], ...}
    arrays    one after the other, little-endian, rows first

Nothing in it can name code to run. Lengths are checked against limits, and against the shapes that
the header announces, before memory is taken. Needs numpy only.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Read = Callable[[int], bytes]
"""Gives exactly so many bytes, or fewer where the stream ends."""
Write = Callable[[bytes | memoryview], object]

PROTOCOL = 1
MAX_HEADER = 16 << 20
MAX_BODY = 8 << 30
MAX_GREETING = 64 << 10
"""Largest message before the two sides know each other."""

_MAGIC = b"MLRN"
_HEAD = struct.Struct("<4sIQ")
_DTYPES = ("<f8", "<f4", "<i8", "<i4", "|u1", "|b1")


class ProtocolError(RuntimeError):
    """The other side sent what is not a message, or one that is too large."""


class StreamEndError(EOFError):
    """The other side has closed the stream."""


@dataclass(frozen=True)
class Message:
    """What is sent.

    Attributes:
        kind: "hello", "adapt", "progress", "result", "error".
        values: what JSON can say.
        arrays: by name.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)


def send(write: Write, message: Message) -> None:
    """Write a message.

    Raises:
        ProtocolError: an array of a type that is not sent, or the message is too large.
    """
    arrays = {name: _portable(name, array) for name, array in message.arrays.items()}
    listed = [
        {"name": name, "dtype": array.dtype.str, "shape": list(array.shape)}
        for name, array in arrays.items()
    ]
    header = json.dumps({**message.values, "kind": message.kind, "arrays": listed}).encode()
    size = sum(array.nbytes for array in arrays.values())
    _check_size(len(header), size, MAX_HEADER, MAX_BODY)
    write(_HEAD.pack(_MAGIC, len(header), size) + header)
    for array in arrays.values():
        if array.nbytes:
            write(array.reshape(-1).view(np.uint8).data)


def receive(read: Read, *, max_header: int = MAX_HEADER, max_body: int = MAX_BODY) -> Message:
    """Read a message.

    Raises:
        StreamEndError: the stream ends before or inside the message.
        ProtocolError: it is not one, or too large.
    """
    magic, header_size, body_size = _HEAD.unpack(_exactly(read, _HEAD.size))
    if magic != _MAGIC:
        raise ProtocolError(f"expected a message, got bytes that begin with {magic!r}")
    _check_size(header_size, body_size, max_header, max_body)
    try:
        header = json.loads(_exactly(read, header_size))
        kind, listed = str(header.pop("kind")), header.pop("arrays")
        shapes = [_announced(entry) for entry in listed]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProtocolError(f"the header of a message is damaged ({error})") from error
    if sum(count for *_, count in shapes) != body_size:
        raise ProtocolError("the arrays of a message are not as long as its header says")
    arrays = {}
    for name, dtype, shape, count in shapes:
        arrays[name] = np.frombuffer(bytearray(_exactly(read, count)), dtype).reshape(shape)
    return Message(kind, header, arrays)


def _announced(entry: Mapping[str, Any]) -> tuple[str, np.dtype[Any], tuple[int, ...], int]:
    """Name, type, shape and number of bytes of an array that a header lists."""
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"arrays of type {entry['dtype']!r} are not sent")
    shape = tuple(int(n) for n in entry["shape"])
    if len(shape) > 4 or any(n < 0 for n in shape):
        raise ValueError(f"an array of shape {list(shape)}")
    dtype = np.dtype(entry["dtype"])
    return str(entry["name"]), dtype, shape, math.prod(shape) * dtype.itemsize


def _portable(name: str, array: Array) -> Array:
    """The array little-endian and row by row."""
    values = np.asarray(array)
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(values.shape)
    if little.dtype.str not in _DTYPES:
        raise ProtocolError(f"array {name!r} of type {values.dtype} cannot be sent")
    return little


def _check_size(header: int, body: int, max_header: int, max_body: int) -> None:
    if header > max_header or body > max_body:
        raise ProtocolError(
            f"a message of {header + body} bytes is larger than the {max_header + max_body} allowed"
        )


def _exactly(read: Read, count: int) -> bytes:
    data = read(count)
    if len(data) < count:
        raise StreamEndError("the stream ended")
    return data
