"""Records of TFRecord files, as TensorFlow writes them."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from meshlearn.training.data.readers.tfrecord import masked_crc


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def record(arrays: dict[str, np.ndarray[Any, Any]]) -> bytes:
    """A `tf.Example` of raw arrays."""
    entries = b""
    for name, array in arrays.items():
        value = field(1, field(1, array.tobytes()))
        entries += field(1, field(1, name.encode()) + field(2, value))
    data = field(1, entries)
    length = struct.pack("<Q", len(data))
    sums = [struct.pack("<I", masked_crc(part)) for part in (length, data)]
    return length + sums[0] + data + sums[1]
