"""TFRecord files as TensorFlow writes them: known checksums, round trip, damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tfrecords import record

from meshlearn.mesh import MeshError
from meshlearn.training.data.readers import (
    read_trajectories,
    read_trajectory,
    record_places,
    tfrecord_payloads,
)
from meshlearn.training.data.readers.tfrecord import masked_crc

META: dict[str, Any] = {
    "trajectory_length": 3,
    "features": {
        "mesh_pos": {"type": "static", "shape": [1, -1, 2], "dtype": "float32"},
        "velocity": {"type": "dynamic", "shape": [3, -1, 2], "dtype": "float32"},
        "cells": {"type": "static", "shape": [1, -1, 3], "dtype": "int32"},
    },
}


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "mesh_pos": rng.normal(size=(1, 40, 2)).astype("<f4"),
        "velocity": rng.normal(size=(3, 40, 2)).astype("<f4"),
        "cells": rng.integers(40, size=(1, 60, 3)).astype("<i4"),
    }


@pytest.fixture
def folder(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    (tmp_path / "meta.json").write_text(json.dumps(META))
    (tmp_path / "train.tfrecord").write_bytes(2 * record(arrays))
    return tmp_path


def test_the_checksum_is_the_published_one() -> None:
    # RFC 3720, B.4: the CRC-32C of "123456789" is e3069283, that of 32 zeros 8a9136aa
    for data, crc in ((b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA)):
        rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
        assert masked_crc(data) == (rotated + 0xA282EAD8) & 0xFFFFFFFF


def test_what_was_written_is_read(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    found = list(read_trajectories(folder, "train"))
    assert len(found) == 2
    for trajectory in found:
        assert trajectory.keys() == arrays.keys()
        assert all(np.array_equal(trajectory[name], arrays[name]) for name in arrays)


def test_one_record_is_read_alone(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    path = folder / "train.tfrecord"
    other = {**arrays, "velocity": 1 + arrays["velocity"]}
    whole = record(arrays) + record(other)
    path.write_bytes(whole)
    assert [start for start, _ in record_places(path)] == [12, len(record(arrays)) + 12]
    found = read_trajectory(folder, "train", 1)
    assert all(np.array_equal(found[name], other[name]) for name in other)
    with pytest.raises(MeshError, match=r"train\.tfrecord has 2 records, no record 2"):
        read_trajectory(folder, "train", 2)
    changed = bytearray(whole)
    changed[100] ^= 1  # in record 0, which is not read
    path.write_bytes(changed)
    assert np.array_equal(read_trajectory(folder, "train", 1)["cells"], arrays["cells"])
    with pytest.raises(MeshError, match=r"the checksum of record 0 of .* is wrong"):
        read_trajectory(folder, "train", 0)
    path.write_bytes(whole[:-3])
    with pytest.raises(MeshError, match=r"record 1 of .*train\.tfrecord is cut off"):
        record_places(path)
    with pytest.raises(MeshError, match=r"cannot read .*valid\.tfrecord: No such file"):
        record_places(folder / "valid.tfrecord")


def test_fields_of_changing_length_come_with_their_lengths(folder: Path) -> None:
    edges = np.arange(10, dtype="<i4").reshape(1, 5, 2)
    lengths = np.array([2, 3], "<i4")
    entry = {"type": "dynamic_varlen", "shape": [1, -1, 2], "dtype": "int32"}
    meta = {"trajectory_length": 2, "features": {"edges": entry}}
    (folder / "meta.json").write_text(json.dumps(meta))
    path = folder / "train.tfrecord"
    path.write_bytes(record({"edges": edges, "length_edges": lengths}))
    (found,) = read_trajectories(folder, "train")
    assert np.array_equal(found["edges"], edges)
    assert np.array_equal(found["length_edges"], lengths)


def test_damage(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    path = folder / "train.tfrecord"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(MeshError, match=r"record 1 of .*train\.tfrecord is cut off"):
        list(tfrecord_payloads(path))
    changed = bytearray(whole)
    changed[100] ^= 1
    path.write_bytes(changed)
    with pytest.raises(MeshError, match=r"the checksum of record 0 of .* is wrong"):
        list(tfrecord_payloads(path))
    path.write_bytes(record({"cells": arrays["cells"]}))
    with pytest.raises(MeshError, match="has no 'mesh_pos'; it has cells"):
        list(read_trajectories(folder, "train"))
    path.write_bytes(record({**arrays, "velocity": arrays["velocity"][:2]}))
    with pytest.raises(MeshError, match=r"'velocity' of record 0 .* does not fit its shape"):
        list(read_trajectories(folder, "train"))
    with pytest.raises(MeshError, match=r"cannot read .*valid\.tfrecord: No such file"):
        list(read_trajectories(folder, "valid"))


def test_a_description_that_is_none(folder: Path) -> None:
    meta = folder / "meta.json"
    meta.write_text("{}")
    with pytest.raises(MeshError, match="is no description of MeshGraphNets data"):
        list(read_trajectories(folder, "train"))
    cells = {"type": "static", "shape": [1, -1, 3], "dtype": "string"}
    meta.write_text(json.dumps({"trajectory_length": 3, "features": {"cells": cells}}))
    with pytest.raises(MeshError, match="a feature of unknown type or dtype"):
        list(read_trajectories(folder, "train"))
    meta.unlink()
    with pytest.raises(MeshError, match=r"cannot read .*meta\.json: No such file"):
        list(read_trajectories(folder, "train"))
