"""Frames to a file: GIF and WebP by Pillow, MP4 and WebM by PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vitscope.errors import MissingExtraError, RenderingError
from vitscope.progress import CountedStage, Progress
from vitscope.rendering.files import Metadata, metadata_text, write_atomically

FORMATS = (".gif", ".webp", ".mp4", ".webm")

_RATE = 25
"""Frames per second of a film; each picture is repeated to fill its time."""

_PALETTE_PIXELS = 200_000
"""About how many pixels the palette of a GIF is chosen from."""


def save_animation(
    frames: Sequence[Image.Image],
    path: str | Path,
    *,
    seconds_per_frame: float = 0.5,
    hold_last: float = 1.5,
    loop: bool = True,
    metadata: Metadata | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write frames of one size as .gif, .webp, .mp4 or .webm, by the suffix of ``path``; returns the path.

    The last frame stays ``hold_last`` seconds longer. GIF and WebP repeat for ever unless ``loop`` is false.
    ``metadata`` is stored as a comment (GIF), as XMP (WebP) or as the comment tag (MP4, WebM).
    ``progress`` is told of every frame that is ready to be written, and asked whether to stop; then there is no file.

    Raises ``RenderingError`` without frames or for another suffix, ``MissingExtraError`` when PyAV is not
    installed and a film is wanted, ``OutputError`` when the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise RenderingError(
            f"expected a path ending in {', '.join(FORMATS)}, got {Path(path).name!r}; rename it"
        )
    if not frames:
        raise RenderingError("expected at least one frame, got none; the method must have a flow")
    if any(frame.size != frames[0].size for frame in frames):
        raise RenderingError("expected frames of one size, got several; draw them with flow_frames")
    if seconds_per_frame <= 0 or hold_last < 0:
        raise RenderingError(
            f"expected positive durations, got {seconds_per_frame} and {hold_last} s; half a second per block is usual"
        )
    durations = [seconds_per_frame] * len(frames)
    durations[-1] += hold_last
    note = metadata_text(metadata)
    stage = CountedStage(progress, "writing frames", len(frames), unit="frames")
    if suffix == ".gif":
        return write_atomically(path, _gif(frames, durations, loop, note, stage))
    if suffix == ".webp":
        return write_atomically(path, _webp(frames, durations, loop, note, stage))
    return write_atomically(path, _film(frames, durations, note, stage, suffix[1:]))


def _counted(frames: Iterable[Image.Image], stage: CountedStage) -> Iterator[Image.Image]:
    for frame in frames:
        stage.check()
        yield frame
        stage.advance()


def _milliseconds(durations: Sequence[float]) -> list[int]:
    return [max(20, round(1000 * duration)) for duration in durations]


def _gif(
    frames: Sequence[Image.Image], durations: Sequence[float], loop: bool, note: str, stage: CountedStage
) -> bytes:
    # One palette for all frames, taken from all of them: a cell of one value keeps one colour from block to block.
    area = len(frames) * frames[0].width * frames[0].height
    shrink = max(1, round((area / _PALETTE_PIXELS) ** 0.5))
    size = (max(1, frames[0].width // shrink), max(1, frames[0].height // shrink))
    sample = Image.new("RGB", (size[0], size[1] * len(frames)))
    for index, frame in enumerate(frames):
        sample.paste(frame.convert("RGB").resize(size, Image.Resampling.NEAREST), (0, index * size[1]))
    # Coverage first, so that a small bright thing in a dark picture keeps its colour; then k-means for smoothness.
    palette = sample.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=1)
    indexed = [
        frame.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in _counted(frames, stage)
    ]
    buffer = io.BytesIO()
    options: dict[str, object] = {"loop": 0} if loop else {}
    if note:
        options["comment"] = note.encode("utf-8")
    indexed[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=_milliseconds(durations),
        optimize=False,
        disposal=1,
        **options,
    )
    return buffer.getvalue()


def _webp(
    frames: Sequence[Image.Image], durations: Sequence[float], loop: bool, note: str, stage: CountedStage
) -> bytes:
    buffer = io.BytesIO()
    options: dict[str, object] = {"xmp": note.encode("utf-8")} if note else {}
    first, *rest = [frame.convert("RGB") for frame in _counted(frames, stage)]
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=rest,
        duration=_milliseconds(durations),
        loop=0 if loop else 1,
        quality=90,
        method=4,
        **options,
    )
    return buffer.getvalue()


def _codec(form: str) -> tuple[str, dict[str, str]]:
    """The codec of a film that every player of its form knows, with its settings; no settings for the stand-in."""
    import av

    if form == "webm":
        return "libvpx-vp9", {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}
    if "libx264" in av.codecs_available:
        return "libx264", {"crf": "18", "preset": "veryfast", "tune": "stillimage"}
    return "mpeg4", {}


def _film(
    frames: Sequence[Image.Image], durations: Sequence[float], note: str, stage: CountedStage, form: str
) -> bytes:
    try:
        import av
    except ImportError:
        named = {"mp4": "MP4", "webm": "WebM"}[form]
        raise MissingExtraError("av", "video", f"writing {named}") from None
    from fractions import Fraction

    codec, settings = _codec(form)
    # 4:2:0, which every player knows, needs even sides: white is added right and below.
    width, height = (side + side % 2 for side in frames[0].size)
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format=form) as container:
        if note:
            container.metadata["comment"] = note
        stream: Any = container.add_stream(codec, rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _RATE)
        if settings:
            stream.options = settings
        else:
            stream.bit_rate = 8_000_000
        time = 0
        for frame, duration in zip(_counted(frames, stage), durations, strict=True):
            padded = Image.new("RGB", (width, height), "white")
            padded.paste(frame.convert("RGB"), (0, 0))
            pixels = np.asarray(padded)
            for _ in range(max(1, round(duration * _RATE))):
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                picture.pts = time
                container.mux(stream.encode(picture))
                time += 1
        container.mux(stream.encode())
    return buffer.getvalue()
