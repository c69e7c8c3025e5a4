"""Trajectories of MeshGraphNets: TFRecord files with a `meta.json` beside them, without TensorFlow.

A TFRecord file is a sequence of records: length (8 bytes), its masked CRC-32C (4), data, its masked
CRC-32C (4), all little endian; the mask is rotr(crc, 15) + 0xa282ead8. The data are a `tf.Example`
in protobuf: field 1 is a map whose entries (field 1) hold a name (1) and a value (2) with a list of
bytes (1) of values (1). `meta.json` gives type and shape of the raw arrays in them (Pfaff et al.,
"Learning mesh-based simulation with graph networks", ICLR 2021).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....mesh import MeshError

_MASK, _POLYNOMIAL, _WORD = 0xA282EAD8, 0x82F63B78, 0xFFFFFFFF
_DTYPES = ("float32", "float64", "int32", "int64")
_KINDS = ("static", "dynamic", "dynamic_varlen")


def read_trajectories(folder: str | Path, split: str) -> Iterator[dict[str, NDArray[Any]]]:
    """Trajectories of `FOLDER/SPLIT.tfrecord`, one at a time.

    Args:
        folder: holds `meta.json` and the records.
        split: "train", "valid" or "test".

    Returns:
        Arrays by name, `[steps, ...]`; those that do not change in time have one step. Of fields
        whose length changes, the rows of all steps, and the lengths as `length_NAME`.

    Raises:
        MeshError: a file is missing or damaged, or the records do not fit `meta.json`.
    """
    folder = Path(folder)
    meta, path = _meta(folder / "meta.json"), folder / f"{split}.tfrecord"
    for number, data in enumerate(tfrecord_payloads(path)):
        yield _trajectory(data, meta, f"record {number} of {path}")


def read_trajectory(folder: str | Path, split: str, number: int) -> dict[str, NDArray[Any]]:
    """One of `read_trajectories`; the records before it are passed over.

    Raises:
        MeshError: there is no such record; else as there.
    """
    folder = Path(folder)
    meta, path = _meta(folder / "meta.json"), folder / f"{split}.tfrecord"
    places = record_places(path)
    if not 0 <= number < len(places):
        raise MeshError(f"{path} has {len(places)} records, no record {number}")
    where = f"record {number} of {path}"
    with path.open("rb") as stream:
        stream.seek(places[number][0])
        body = stream.read(places[number][1] + 4)
    _verify(body, places[number][1], where)
    return _trajectory(body[:-4], meta, where)


def record_places(path: str | Path) -> list[tuple[int, int]]:
    """Where the data of each record begin, and their lengths; the data are not read.

    Raises:
        MeshError: the file is missing or cut off, or the checksum of a length is wrong.
    """
    places: list[tuple[int, int]] = []
    try:
        with Path(path).open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            while head := stream.read(12):
                where = f"record {len(places)} of {path}"
                _verify(head, 8, where)
                length = struct.unpack("<Q", head[:8])[0]
                places.append((stream.tell(), length))
                if stream.seek(length + 4, 1) > size:
                    raise MeshError(f"{where} is cut off; get the file again")
    except OSError as error:
        raise MeshError(f"cannot read {path}: {error.strerror}") from error
    return places


def tfrecord_payloads(path: str | Path) -> Iterator[bytes]:
    """The data of each record of a TFRecord file.

    Raises:
        MeshError: the file is missing, cut off, or a checksum is wrong.
    """
    try:
        with Path(path).open("rb") as stream:
            number = 0
            while head := stream.read(12):
                where = f"record {number} of {path}"
                _verify(head, 8, where)
                length = struct.unpack("<Q", head[:8])[0]
                body = stream.read(length + 4)
                _verify(body, length, where)
                yield body[:-4]
                number += 1
    except OSError as error:
        raise MeshError(f"cannot read {path}: {error.strerror}") from error


def masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli) of bytes, masked as in TFRecord files."""
    crc, table = _WORD, _table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= _WORD
    return (((crc >> 15) | (crc << 17)) + _MASK) & _WORD


@cache
def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


def _verify(data: bytes, length: int, where: str) -> None:
    """That so many bytes and their checksum are there, and agree."""
    if len(data) != length + 4:
        raise MeshError(f"{where} is cut off; get the file again")
    if struct.unpack("<I", data[length:])[0] != masked_crc(data[:length]):
        raise MeshError(f"the checksum of {where} is wrong; get the file again")


def _meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text())
        known = all(e["dtype"] in _DTYPES and e["type"] in _KINDS and len(e["shape"]) > 0
                    for e in meta["features"].values())  # fmt: skip
        int(meta["trajectory_length"])
    except OSError as error:
        raise MeshError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeshError(f"{path} is no description of MeshGraphNets data") from error
    if not known:
        raise MeshError(f"{path} has a feature of unknown type or dtype")
    return dict(meta)


def _trajectory(data: bytes, meta: dict[str, Any], where: str) -> dict[str, NDArray[Any]]:
    raw, found = _example(data, where), {}
    for name, entry in meta["features"].items():
        found[name] = _array(raw, name, entry, int(meta["trajectory_length"]), where)
        if entry["type"] == "dynamic_varlen":
            lengths = {"type": "dynamic", "dtype": "int32", "shape": [-1]}
            found[f"length_{name}"] = _array(raw, f"length_{name}", lengths, 0, where)
    return found


def _array(
    raw: dict[str, bytes], name: str, entry: dict[str, Any], steps: int, where: str
) -> NDArray[Any]:
    if name not in raw:
        raise MeshError(f"{where} has no {name!r}; it has {', '.join(sorted(raw))}")
    try:
        found = np.frombuffer(raw[name], dtype=np.dtype(entry["dtype"]).newbyteorder("<"))
        found = found.reshape(entry["shape"])
    except ValueError as error:
        raise MeshError(f"{name!r} of {where} does not fit its shape {entry['shape']}") from error
    wanted = {"static": 1, "dynamic": steps}.get(entry["type"], 0)
    if wanted and len(found) != wanted:
        raise MeshError(f"{name!r} of {where} has {len(found)} steps in place of {wanted}")
    return found


def _example(data: bytes, where: str) -> dict[str, bytes]:
    """Raw bytes of each feature of a `tf.Example`."""
    try:
        found = {}
        for features in _fields(data, 1):
            for entry in _fields(features, 1):
                (name,), (value,) = _fields(entry, 1), _fields(entry, 2)
                values = [v for part in _fields(value, 1) for v in _fields(part, 1)]
                found[name.decode()] = b"".join(values)
    except (IndexError, ValueError) as error:
        raise MeshError(f"{where} is no tf.Example with lists of bytes") from error
    return found


def _fields(data: bytes, number: int) -> list[bytes]:
    """Values of one length-delimited field of a protobuf message; others are passed over."""
    at, found = 0, []
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
            if at > len(data):
                raise ValueError("a field ends after its message")
            if key >> 3 == number:
                found.append(value)
        elif kind == 0:
            _, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("an unknown wire type")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
