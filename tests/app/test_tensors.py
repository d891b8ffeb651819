"""Arrays on the wire: the bytes are as they are documented, and everything comes back."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vitscope.app import tensors
from vitscope.errors import DamagedError, OutputError

KINDS = st.sampled_from([np.dtype(name) for name in tensors.DTYPES])
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
SOME = st.dictionaries(
    st.text(min_size=1, max_size=8),
    KINDS.flatmap(lambda kind: arrays.arrays(kind, SHAPES)),
    max_size=4,
)


def test_the_bytes_are_as_documented() -> None:
    content = tensors.encode({"a": np.uint8([[1, 2, 3]]), "b": np.float32([0.5])}, {"method": "ü"})
    assert content[:4] == b"VST1"
    (length,) = struct.unpack("<I", content[4:8])
    begin = 8 + length
    assert begin % 8 == 0
    header = json.loads(content[8:begin].decode("utf-8"))
    assert header["method"] == "ü"
    assert header["tensors"] == [
        {"name": "a", "dtype": "uint8", "shape": [1, 3], "offset": 0, "bytes": 3},
        {"name": "b", "dtype": "float32", "shape": [1], "offset": 8, "bytes": 4},
    ]
    assert content[begin : begin + 3] == bytes([1, 2, 3])
    assert content[begin + 8 : begin + 12] == struct.pack("<f", 0.5)


@settings(max_examples=25)
@given(SOME, st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3))
def test_everything_comes_back(given: dict[str, np.ndarray], known: dict[str, object]) -> None:
    known.pop("tensors", None)
    found, header = tensors.decode(tensors.encode(given, known))
    assert header == known
    assert list(found) == list(given)
    for name, values in given.items():
        assert found[name].dtype == values.dtype and found[name].shape == values.shape
        assert found[name].tobytes() == values.tobytes()  # NaN, too


def test_numbers_that_json_has_not_are_null() -> None:
    _, header = tensors.decode(tensors.encode({}, {"score": math.nan, "list": [math.inf, 1.0]}))
    assert header == {"score": None, "list": [None, 1.0]}


def test_what_is_no_such_array_is_refused() -> None:
    with pytest.raises(OutputError, match="expected arrays of"):
        tensors.encode({"a": np.float64([1])}, {})
    with pytest.raises(OutputError, match="no JSON"):
        tensors.encode({}, {"a": object()})


@pytest.mark.parametrize("cut", [0, 5, 20, -1])
def test_what_is_cut_short_is_told(cut: int) -> None:
    content = tensors.encode({"a": np.float32([1, 2, 3])}, {})
    with pytest.raises(DamagedError, match="no tensors of the app"):
        tensors.decode(content[:cut] if cut >= 0 else b"VST2" + content[4:])
