"""Flow strips, frames and animations: every block is there, on one scale, and the files hold what was drawn."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitscope.errors import MissingExtraError, OutputError, RenderingError
from vitscope.rendering import flow_frames, flow_strip, save_animation
from vitscope.rendering.colour import lookup_table
from vitscope.rendering.maps.flow import THUMB_SIDE, scale_flow

HIGH = lookup_table("viridis")[-1]


@pytest.fixture
def flow() -> np.ndarray:
    """Five blocks on a 3 × 4 grid; the same cell grows from block to block."""
    values = np.zeros((5, 3, 4), np.float32)
    values[:, 0, 0] = np.arange(1, 6)
    return values


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8))


def test_strip_has_a_panel_per_block_on_one_scale(flow: np.ndarray) -> None:
    before = flow.copy()
    drawn = np.asarray(flow_strip(flow))
    assert np.array_equal(flow, before)
    step, height = THUMB_SIDE + 8, THUMB_SIDE * 3 // 4
    corners = [drawn[12 + 3, 12 + index * step + 3] for index in range(5)]
    expected = [lookup_table("viridis")[round(255 * (index + 1) / 5)] for index in range(5)]
    assert np.array_equal(corners, expected)
    assert drawn.shape[1] == 5 * step - 8 + 24
    cold = drawn[12 + height - 3, 12 + 3]
    assert np.array_equal(cold, lookup_table("viridis")[0])


def test_strip_of_separately_scaled_blocks_shows_each_at_full_range(flow: np.ndarray) -> None:
    drawn = np.asarray(flow_strip(flow, scaling="daam-sigmoid"))
    corners = [drawn[15, 15 + index * (THUMB_SIDE + 8)] for index in range(5)]
    assert all(np.array_equal(corner, HIGH) for corner in corners)


def test_strip_breaks_into_equal_rows() -> None:
    many = np.random.default_rng(0).random((24, 2, 2))
    wide = flow_strip(many[:12])
    tall = flow_strip(many)
    assert tall.width == wide.width and tall.height > wide.height + THUMB_SIDE
    assert flow_strip(many[:12], columns=3).width < wide.width


@pytest.mark.parametrize("style", ["alpha", "spotlight", "contour", "side-by-side", "map"])
def test_frames_are_of_one_size_and_all_differ(style: str, flow: np.ndarray, picture: Image.Image) -> None:
    frames = flow_frames(flow, picture, style=style, title="A flow")
    assert len(frames) == 5 and len({frame.size for frame in frames}) == 1
    assert len({frame.tobytes() for frame in frames}) == 5


def test_frames_can_stand_beside_the_picture(flow: np.ndarray, picture: Image.Image) -> None:
    alone, beside = flow_frames(flow, picture), flow_frames(flow, picture, beside_picture=True)
    assert beside[0].width == alone[0].width + 336 + 8
    photo = np.asarray(picture.resize((336, 252), Image.Resampling.LANCZOS))
    assert np.array_equal(np.asarray(beside[2])[12 : 12 + 252, 12 : 12 + 336], photo)


def test_equal_blocks_still_make_their_frames(tmp_path: Path) -> None:
    still = np.ones((6, 2, 2))
    frames = flow_frames(still, scaling="minmax")
    path = save_animation(frames, tmp_path / "still.gif")
    with Image.open(path) as made:
        assert made.n_frames == 6  # the progress bar tells equal blocks apart


def test_signed_flow_shares_a_scale_with_zero_in_the_middle(flow: np.ndarray) -> None:
    scaled = scale_flow(flow - 2, "signed")
    assert (scaled.high == 3).all() and (scaled.low == -3).all()
    assert scaled.values[1, 0, 0] == 0.5


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_gif_and_webp_hold_every_frame_and_its_time(
    suffix: str, flow: np.ndarray, picture: Image.Image, tmp_path: Path
) -> None:
    frames = flow_frames(flow, picture, style="map")  # noise is no picture that a film can hold
    made_by = {"model": "vit", "naïve": "ü"}
    path = save_animation(
        frames, tmp_path / f"flow{suffix}", seconds_per_frame=0.2, hold_last=1.0, metadata=made_by
    )
    times = []
    with Image.open(path) as made:
        assert made.n_frames == 5 and made.size == frames[0].size
        for index in range(5):
            made.seek(index)
            made.load()
            times.append(made.info["duration"])
            error = np.abs(np.asarray(made.convert("RGB")).astype(int) - np.asarray(frames[index]))
            assert error.mean() < 6
        note = made.info.get("comment", made.info.get("xmp"))
    assert times == [200, 200, 200, 200, 1200]
    assert note is not None and "model: vit" in note.decode() and "naïve: ü" in note.decode()


def test_mp4_holds_every_block_for_its_time(flow: np.ndarray, picture: Image.Image, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    frames = [
        frame.crop((0, 0, 201, 151)) for frame in flow_frames(flow, picture, style="map")
    ]  # odd sides are padded
    path = tmp_path / "flow.mp4"
    save_animation(frames, path, seconds_per_frame=0.2, hold_last=0.4, metadata={"model": "vit"})
    with av.open(str(path)) as made:
        decoded = [frame.to_ndarray(format="rgb24") for frame in made.decode(video=0)]
        assert "model: vit" in made.metadata["comment"]
    assert len(decoded) == 4 * 5 + 15 and decoded[0].shape == (152, 202, 3)
    for index, frame in enumerate(frames):
        assert np.abs(decoded[index * 5 + 2][:151, :201].astype(int) - np.asarray(frame)).mean() < 8


def test_mp4_without_the_extra_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: object, **more: object) -> object:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r'install it with: pip install .*\[video\]"'):
        save_animation([Image.new("RGB", (4, 4))], tmp_path / "flow.mp4")
    assert list(tmp_path.iterdir()) == []


def test_wrong_input_is_refused(flow: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(RenderingError, match=r"\(L, h, w\)"):
        flow_strip(flow[0])
    with pytest.raises(RenderingError, match="5 block labels"):
        flow_frames(flow, labels=["a"])
    with pytest.raises(RenderingError, match="no room"):
        flow_strip(flow, Image.new("RGB", (4, 4)), style="side-by-side")
    frames = flow_frames(flow)
    with pytest.raises(RenderingError, match=r"\.avi"):
        save_animation(frames, tmp_path / "flow.avi")
    with pytest.raises(RenderingError, match="at least one frame"):
        save_animation([], tmp_path / "flow.gif")
    with pytest.raises(RenderingError, match="one size"):
        save_animation([frames[0], Image.new("RGB", (3, 3))], tmp_path / "flow.gif")
    with pytest.raises(RenderingError, match="positive"):
        save_animation(frames, tmp_path / "flow.gif", seconds_per_frame=0)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        save_animation(frames[:1], tmp_path / "file" / "flow.gif")
