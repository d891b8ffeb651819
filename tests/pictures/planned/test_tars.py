"""Tars: each picture by its place, as the same file would be; what is damaged is told when the plan is made."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
import torch

from tests.pictures.planned.making import Model, encoded, packed, put, read_all
from vitscope.errors import DataError, PictureError
from vitscope.pictures import picture_source
from vitscope.pictures.planned import PlannedSource, plan_pictures

FILES = {"a/1.png": encoded(1), "a/2.jpg": encoded(2, kind="JPEG"), "b/1.png": encoded(3)}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_members_are_as_loose_files(tmp_path: Path, form: int) -> None:
    long = {} if form == tarfile.USTAR_FORMAT else {f"{'d' * 90}/{'n' * 90}ö.png": encoded(4)}
    files = FILES | long
    put(tmp_path / "loose", files)
    put(tmp_path, {"t/x.tar": packed(files, format=form)})
    plan = plan_pictures(tmp_path / "t" / "x.tar")
    planned = list(plan)
    assert plan.kind == "tar" and plan.root == str(tmp_path / "t")
    assert [p.key for p in planned] == [f"x.tar::{name[:-4]}" for name in files]
    assert list(read_all(plan.root, planned).values()) == list(files.values())
    content = (tmp_path / "t" / "x.tar").read_bytes()
    assert [content[p.offset : p.offset + p.size] for p in planned] == list(files.values())
    source = PlannedSource(plan.root, planned)
    loose = picture_source([tmp_path / "loose" / name for name in files])
    assert source.ids == loose.ids
    for ours, theirs in zip(source.batches(Model(), 2), loose.batches(Model(), 2), strict=True):
        assert torch.equal(ours.images, theirs.images)
    assert {p.key.partition("::")[0] for p in plan_pictures(tmp_path / "t" / "x.tar", root=tmp_path)} == {
        "t/x.tar"
    }


def test_samples_of_several_members(tmp_path: Path) -> None:
    files = {
        "./0.cls": b"3\n", "./0.jpg": encoded(0), "./0.txt": b"a cat", "./0.depth.png": encoded(9),
        "1.png": encoded(1), "1.json": json.dumps({"label": 5, "url": "x"}).encode(),
        "2.png": encoded(2), "2.json": b'{"url": "x"}', "._2.png": b"of a Mac",
        "3.jpg": encoded(3), "3.png": encoded(4), "3.cls": b"1",
        "4.v1.png": encoded(5), "4.v2.png": encoded(6),
        "README": b"no picture",
    }  # fmt: skip
    put(tmp_path, {"x.tar": packed(files)})
    planned = list(plan_pictures(tmp_path / "x.tar"))
    assert [(p.key, p.label) for p in planned] == [
        ("x.tar::0", 3), ("x.tar::1", 5), ("x.tar::2", None), ("x.tar::3.jpg", 1), ("x.tar::3.png", 1),
        ("x.tar::4.v1.png", None), ("x.tar::4.v2.png", None),
    ]  # fmt: skip
    assert PlannedSource(tmp_path, planned[:2]).labels == [3, 5]
    assert PlannedSource(tmp_path, planned[:3]).labels is None
    put(tmp_path, {"y.tar": packed({"0.png": encoded(0), "0.cls": b"tabby"})})
    assert [p.label for p in plan_pictures(tmp_path / "y.tar", class_names=["dog", "tabby"])] == [1]
    with pytest.raises(DataError, match=r"y\.tar::0\.cls: expected a whole number from 0 on, got 'tabby'"):
        list(plan_pictures(tmp_path / "y.tar"))
    with pytest.raises(DataError, match="no class 'tabby'; nearest: abby"):
        list(plan_pictures(tmp_path / "y.tar", class_names=["dog", "abby"]))


def test_several_tars(tmp_path: Path) -> None:
    for number in range(11):
        put(tmp_path, {f"s-{number:02d}.tar": packed({"0.png": encoded(number)})})
    keys = [f"s-{number:02d}.tar::0" for number in range(11)]
    assert [p.key for p in plan_pictures(tmp_path / "s-{00..10}.tar")] == keys
    assert [p.key for p in plan_pictures(tmp_path / "s-*.tar")] == keys
    assert [p.key for p in plan_pictures([tmp_path / "s-03.tar", tmp_path / "s-01.tar"])] == [
        keys[3],
        keys[1],
    ]
    with pytest.raises(PictureError, match="no file"):
        list(plan_pictures(tmp_path / "s-{09..11}.tar"))


def test_hostile_members(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        for name in ("../up.png", "/etc/abs.png", "empty.png", "\x1b[2J.png"):
            content = b"" if name == "empty.png" else encoded(1)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        folder = tarfile.TarInfo("folder.png")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    put(tmp_path, {"d/x.tar": stream.getvalue()})
    planned = list(plan_pictures(tmp_path / "d" / "x.tar"))
    source = PlannedSource(tmp_path / "d", planned)
    assert {p.key for p in source.read()} == {"x.tar::../up", "x.tar::/etc/abs", "x.tar::\\x1b[2J"}
    skipped = {key.removeprefix("x.tar::"): reason for key, reason in source.skipped.items()}
    assert set(skipped) == {"link", "hard", "pipe", "empty", "folder"}
    assert (
        "is a link" in skipped["link"]
        and "is a link" in skipped["hard"]
        and "no plain file" in skipped["pipe"]
    )
    assert skipped["empty"] == f"{tmp_path}/d/x.tar::empty is empty (0 bytes); pack it again"
    assert {path.name for path in tmp_path.rglob("*")} == {"d", "x.tar"}


def test_a_tar_that_is_cut_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = packed(FILES)
    members = [(p.offset, p.size) for p in plan_pictures(put(tmp_path, {"x.tar": whole}) / "x.tar")]
    last = sum(members[-1])
    cuts = {0, 100, 512, 600, members[1][0] - 512, members[1][0], members[1][0] + 5, last - 1, last}
    cuts |= {-(-last // 512) * 512, -(-sum(members[0]) // 512) * 512}
    for cut in sorted(cuts):
        put(tmp_path, {"x.tar": whole[:cut]})
        with pytest.raises(PictureError, match=r"cut short|is empty"):
            list(plan_pictures(tmp_path / "x.tar"))
    for place in range(0, last, 512):
        header = any(place == offset - 512 for offset, _ in members)
        put(tmp_path, {"x.tar": whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]})
        if header:
            with pytest.raises(PictureError, match=r"damaged|cut short|no tar"):
                list(plan_pictures(tmp_path / "x.tar"))


def test_other_damage(tmp_path: Path) -> None:
    whole = packed(FILES)
    huge = tarfile.TarInfo("huge.png")
    huge.size = 2**60
    negative = bytearray(huge.tobuf(tarfile.GNU_FORMAT))
    negative[124:136] = b"\xff" * 12
    total = sum(negative[:148]) + 8 * 32 + sum(negative[156:512])
    negative[148:156] = b"%06o\0 " % total
    end = max(
        -(-(p.offset + p.size) // 512) * 512 for p in plan_pictures(put(tmp_path, {"x.tar": whole}) / "x.tar")
    )
    cases = {
        "joined.tar": (whole + whole, "several were joined"),
        "huge.tar": (whole[:end] + huge.tobuf(tarfile.GNU_FORMAT) + bytes(1024), "cut short"),
        "alone.tar": (huge.tobuf(tarfile.GNU_FORMAT) + bytes(1024), "cut short"),
        "negative.tar": (bytes(negative) + bytes(1024), "damaged|cut short"),
        "gz.tar": (b"\x1f\x8b\x08" + bytes(1000), "is compressed"),
        "text.tar": (b"a letter to you" * 100, "no tar|cut short"),
    }
    for name, (content, says) in cases.items():
        put(tmp_path, {name: content})
        with pytest.raises(PictureError, match=f"{name}.*({says})"):
            print(name, list(plan_pictures(tmp_path / name)))


def test_a_tar_that_is_cut_later_costs_the_lost_pictures(tmp_path: Path) -> None:
    whole = packed(FILES)
    planned = list(plan_pictures(put(tmp_path, {"x.tar": whole}) / "x.tar"))
    put(tmp_path, {"x.tar": whole[: planned[1].offset + 5]})
    source = PlannedSource(tmp_path, planned)
    assert [picture.key for picture in source.read()] == ["x.tar::a/1"]
    assert set(source.skipped) == {"x.tar::a/2", "x.tar::b/1"}
    assert f"x.tar::a/2 is cut short (5 of {planned[1].size} bytes)" in source.skipped["x.tar::a/2"]
