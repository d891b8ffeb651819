"""Tables of a study: what is written is read back, in equal bytes, in any reader, and damage is told."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.studies.small_study import NAMES, SHARDS, SKIPPED, STUDY, SmallStudy, columns_of, rows_of
from vitscope.errors import DamagedError, OutputError, StorageError
from vitscope.studies.store.keys import key_to_text, text_to_key
from vitscope.studies.store.schemas import TABLES, described
from vitscope.studies.store.tables import (
    decode_parquet,
    encode_parquet,
    encode_table,
    iterate_table,
    read_table,
    shards_of_table,
    table_path,
)


def test_schemas_are_those_of_the_design():
    lines = {name: ", ".join(f"{c.name} {c.kind}" for c in described(name)) for name in TABLES}
    text = "dictionary<values=string, indices=int32, ordered=0>"
    assert lines == {
        "pictures": f"picture int64, key string, label int32, status {text}, reason string, width int32, height int32, "
        "bytes int64, content string",
        "predictions": "picture int64, rank int8, class int32, logit float, probability float, target int32, "
        "entropy float",
        "scores": f"picture int64, method {text}, metric {text}, value double, defined bool, "
        "statistics list<item: double>",
        "curves": f"picture int64, method {text}, curve {text}, values list<item: float>",
        "maps_ragged": f"picture int64, method {text}, h int16, w int16, values list<item: float>",
        "head_scores": f"picture int64, block int16, head int16, metric {text}, value float",
    }


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_back(small: SmallStudy, name: str):
    frame = read_table(small.store, name, SHARDS, study=STUDY)
    given: dict[str, list[object]] = {}
    for shard in SHARDS:
        for column, values in columns_of(name, shard).items():
            given.setdefault(column, []).extend(np.asarray(v).tolist() for v in values)
    assert list(frame.columns) == TABLES[name].names
    for column, values in given.items():
        found = [None if each is None or each is pd.NA else each for each in frame[column]]
        for seen, value in zip(found, values, strict=True):
            if column == "key":
                assert text_to_key(str(seen)) == value
            elif value is None:
                assert seen is None or seen != seen
            elif isinstance(value, float | list) or column in ("logit", "probability"):
                np.testing.assert_allclose(seen, value, rtol=1e-7)
            else:
                assert seen == value
    for column in ("method", "metric", "status"):
        if column in frame:
            assert isinstance(frame[column].dtype, pd.CategoricalDtype)


def test_rows_are_sorted_by_picture_and_keep_their_order_within_one():
    columns = {
        "picture": [3, 1, 3, 1],
        "method": ["b", "b", "a", "a"],
        "curve": ["c"] * 4,
        "values": [[1], [2], [3], [4]],
    }
    table = decode_parquet(encode_table("curves", columns, study=STUDY, shard=0), "x")
    assert table.column("picture").to_pylist() == [1, 1, 3, 3]
    assert table.column("values").to_pylist() == [[2.0], [4.0], [1.0], [3.0]]


@pytest.mark.parametrize("name", NAMES)
def test_equal_values_give_equal_bytes(name: str):
    columns = columns_of(name, 1)
    first = encode_table(name, columns, study=STUDY, shard=1)
    again = encode_table(name, dict(reversed(columns.items())), study=STUDY, shard=1)
    arrow = {c: pa.array(list(v)) if c == "picture" else v for c, v in columns.items()}
    assert first == again == encode_table(name, arrow, study=STUDY, shard=1)


def test_the_file_says_what_it_is_and_how_it_was_packed():
    content = encode_table("scores", columns_of("scores", 2), study=STUDY, shard=2)
    file = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
    assert file.schema_arrow.metadata == {b"vitscope_schema": b"2", b"study": STUDY.encode(), b"shard": b"2"}
    packed = {file.metadata.row_group(0).column(i).compression for i in range(file.metadata.num_columns)}
    assert packed == {"ZSTD"} and file.metadata.num_row_groups == 1


def test_a_table_is_read_shard_by_shard(small: SmallStudy):
    frames = list(iterate_table(small.store, "pictures", [2, 0], ["picture", "status"]))
    assert [list(frame.columns) for frame in frames] == [["picture", "status"]] * 2
    assert [frame["picture"].tolist() for frame in frames] == [list(rows_of(2)), list(rows_of(0))]
    assert shards_of_table(small.store, "pictures") == [0, 1, 2]
    small.store.put("tables/pictures/000003.parquet.part", b"half")
    assert len(read_table(small.store, "pictures")) == 20
    none = read_table(small.store, "scores", [])
    assert list(none.columns) == TABLES["scores"].names and len(none) == 0


def test_one_dictionary_for_shards_of_different_methods(small: SmallStudy):
    for shard, method in enumerate(("gmar", "daam", "gmar")):
        columns = {"picture": [shard], "method": [method], "curve": ["c"], "values": [[1.0]]}
        small.store.put(
            table_path("curves", shard), encode_table("curves", columns, study=STUDY, shard=shard)
        )
    frame = read_table(small.store, "curves", SHARDS)
    assert frame["method"].tolist() == ["gmar", "daam", "gmar"]
    assert isinstance(frame["method"].dtype, pd.CategoricalDtype)


@pytest.mark.parametrize(
    "key", ["a/b.jpg", "caf\udce9.jpg", "bytes:x", "bytes:\udcff", "é", "x\ud800", "", "%41"]
)
def test_every_name_has_one_text(key: str):
    text = key_to_text(key)
    assert text.encode("utf-8").decode() == text
    if "\ud800" not in key:
        assert text_to_key(text) == key


def test_a_file_of_another_shard_or_study_is_told(small: SmallStudy):
    small.store.put(table_path("scores", 0), small.files[table_path("scores", 1)])
    with pytest.raises(DamagedError, match=r"scores/000000.parquet is damaged \(it is the file of shard 1\)"):
        read_table(small.store, "scores", [0])
    with pytest.raises(DamagedError, match="another study"):
        read_table(small.store, "scores", [1], study="another")


def test_a_newer_schema_is_refused_and_a_column_that_an_older_one_lacked_is_empty(small: SmallStudy):
    path = table_path("predictions", 0)
    table = decode_parquet(small.files[path], "x")
    note = {"vitscope_schema": 3, "study": STUDY, "shard": 0}
    small.store.put(path, encode_parquet(table, note))
    with pytest.raises(StorageError, match="made by schema 3; this vitscope reads up to 2; upgrade"):
        read_table(small.store, "predictions", [0])
    small.store.put(path, encode_parquet(table.drop_columns(["target"]), {**note, "vitscope_schema": 1}))
    assert read_table(small.store, "predictions", [0])["target"].isna().all()
    small.store.put(path, encode_parquet(table.drop_columns(["logit"]), {**note, "vitscope_schema": 1}))
    with pytest.raises(DamagedError, match="it has no column logit"):
        read_table(small.store, "predictions", [0])


def test_what_is_not_there_is_told(small: SmallStudy):
    with pytest.raises(StorageError, match="no table 'score'; did you mean scores"):
        read_table(small.store, "score")
    with pytest.raises(StorageError, match="no column 'methods'; did you mean method"):
        read_table(small.store, "scores", columns=["methods"])
    small.store.remove(table_path("scores", 1))
    with pytest.raises(
        DamagedError, match=r"000001.parquet is damaged \(it is missing .*study status --verify"
    ):
        read_table(small.store, "scores", SHARDS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"more": [1, 2]}, "no column 'more'"),
        ({"h": [1]}, r"\[1, 2\] values"),
        ({"h": [1, 40_000]}, "column 'h' of maps_ragged does not take"),
        ({"h": [1, None]}, "1 empty values"),
        ({"method": None}, "needs its column 'method'"),
    ],
)
def test_columns_that_do_not_fit_are_refused(change: dict[str, object], said: str):
    columns: dict[str, object] = {
        "picture": [0, 1],
        "method": ["a", "b"],
        "h": [1, 1],
        "w": [1, 1],
        "values": [[1], [2]],
    }
    given = {name: values for name, values in {**columns, **change}.items() if values is not None}
    with pytest.raises(OutputError, match=said):
        encode_table("maps_ragged", given, study=STUDY, shard=0)  # type: ignore[arg-type]


def test_the_skipped_picture_has_its_reason(small: SmallStudy):
    frame = read_table(small.store, "pictures", SHARDS).set_index("picture")
    assert frame.loc[SKIPPED, "status"] == "skipped" and frame.loc[SKIPPED, "reason"] == "cannot be read"
    assert frame["status"].value_counts().to_dict() == {"ok": 19, "skipped": 1}
