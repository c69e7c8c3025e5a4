"""Messages: what goes in comes out, and damaged bytes are refused before memory is taken."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from meshlearn.plugins import wire

TYPES = st.sampled_from(["<f8", ">f8", "<f4", "<i8", ">i4", "|u1", "|b1"])
ARRAYS = TYPES.flatmap(
    lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0))
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)
)
NAMES = st.text(min_size=1, max_size=8)
RESERVED = {"kind", "arrays"}


def packed(message: wire.Message) -> bytes:
    file = io.BytesIO()
    wire.send(file.write, message)
    return file.getvalue()


@given(
    NAMES,
    st.dictionaries(NAMES.filter(lambda name: name not in RESERVED), JSON, max_size=3),
    st.dictionaries(NAMES, ARRAYS, max_size=3),
)
def test_what_is_sent_is_received(
    kind: str, values: dict[str, object], arrays: dict[str, wire.Array]
) -> None:
    stream = io.BytesIO(packed(wire.Message(kind, values, arrays)) * 2)
    for _ in range(2):
        got = wire.receive(stream.read)
        assert (got.kind, got.values) == (kind, values)
        assert list(got.arrays) == list(arrays)
        for name, array in arrays.items():
            assert got.arrays[name].dtype == array.dtype.newbyteorder("=")
            np.testing.assert_array_equal(got.arrays[name], array)
    with pytest.raises(wire.StreamEndError):
        wire.receive(stream.read)


def test_the_layout_is_the_documented_one() -> None:
    raw = packed(wire.Message("adapt", {"n": 1}, {"x": np.array([[1.0, 2.0]])}))
    magic, header, body = struct.unpack("<4sIQ", raw[:16])
    assert (magic, body) == (b"MLRN", 16)
    assert json.loads(raw[16 : 16 + header]) == {
        "kind": "adapt",
        "n": 1,
        "arrays": [{"name": "x", "dtype": "<f8", "shape": [1, 2]}],
    }
    assert raw[16 + header :] == struct.pack("<2d", 1, 2)


@given(st.data())
def test_a_message_that_is_cut_ends_the_stream(data: st.DataObject) -> None:
    raw = packed(wire.Message("adapt", {}, {"x": np.arange(5.0)}))
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(wire.StreamEndError):
        wire.receive(io.BytesIO(raw[:cut]).read)


@given(st.data())
def test_damage_is_an_error_of_the_protocol(data: st.DataObject) -> None:
    raw = bytearray(packed(wire.Message("adapt", {}, {"x": np.arange(3.0)})))
    end = len(raw) - 24  # the numbers themselves carry no check
    at = data.draw(st.sampled_from([i for i in range(end) if raw[i : i + 1] != b" "]))
    raw[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
    try:
        got = wire.receive(io.BytesIO(bytes(raw)).read)
    except (wire.ProtocolError, wire.StreamEndError):
        return
    assert got.kind != "adapt" or list(got.arrays) != ["x"] or got.arrays["x"].dtype != float


def header(**entry: object) -> bytes:
    text = json.dumps({"kind": "x", "arrays": [entry]}).encode()
    return struct.pack("<4sIQ", b"MLRN", len(text), 8) + text + bytes(8)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "expected a message, got bytes that begin with b'GET '"),
        (struct.pack("<4sIQ", b"MLRN", 4, 1 << 62), "is larger than the"),
        (struct.pack("<4sIQ", b"MLRN", 1 << 31, 0), "is larger than the"),
        (struct.pack("<4sIQ", b"MLRN", 2, 0) + b"{}", "the header of a message is damaged"),
        (struct.pack("<4sIQ", b"MLRN", 2, 0) + b"[]", "the header of a message is damaged"),
        (header(name="x", dtype="|O8", shape=[1]), "arrays of type '|O8' are not sent"),
        (header(name="x", dtype="<f8", shape=[-1]), "an array of shape"),
        (header(name="x", dtype="<f8", shape=[2]), "not as long as its header says"),
        (header(name="x", dtype="<f8", shape=[10**30]), "not as long as its header says"),
    ],
)
def test_bad_bytes_are_refused(raw: bytes, sentence: str) -> None:
    with pytest.raises(wire.ProtocolError) as error:
        wire.receive(io.BytesIO(raw).read)
    assert sentence in str(error.value)


def test_only_numbers_are_sent() -> None:
    with pytest.raises(wire.ProtocolError, match=r"array 'x' of type .* cannot be sent"):
        packed(wire.Message("adapt", {}, {"x": np.array(["a"])}))
    with pytest.raises(wire.ProtocolError, match="array 'x' of type object cannot be sent"):
        packed(wire.Message("adapt", {}, {"x": np.array([{}])}))
