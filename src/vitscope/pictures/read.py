"""The one reader: a picture file, a Pillow image, an array or a tensor becomes an upright 8-bit RGB picture."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from PIL import Image

from vitscope.errors import PictureError, brief
from vitscope.options.door import checked
from vitscope.pictures.formats import identify
from vitscope.pictures.identity import id_of_stream
from vitscope.pictures.modes import to_rgb, upright
from vitscope.storage.paths import typed_path

MAX_PIXELS = 200_000_000
"""Most pixels that a picture may have by default: the largest phone cameras, and 600 MB in memory."""


class Stored(ABC):
    """A picture file that is no file of its own: a member of an archive, a row of a table, an object of a store."""

    @abstractmethod
    def __str__(self) -> str:
        """What messages call it."""

    @abstractmethod
    def opened(self) -> AbstractContextManager[IO[bytes]]:
        """All its bytes as a stream that can be read again. Raises PictureError when there are none."""


@checked(PictureError)
def read_picture(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open one picture file: RGB, 8 bits, upright (its EXIF rotation applied), first frame of an animation.

    Transparent parts are laid on white, 16-bit pictures scaled by their range. Any size from 1×1 up to
    ``max_pixels`` is accepted; a larger picture is refused before it is decoded. No global setting of Pillow is
    read or changed, so several threads may read at the same time.

    Args:
        path: The file; a leading ``~/`` is the user's home folder.
        max_pixels: The largest number of pixels (height times width) that the picture may have.

    Returns:
        An RGB image that is fully loaded; the file is closed.

    Raises:
        PictureError: The file is missing, damaged, too large or no picture. One line names the file, the cause and
            what to do.

    Example:
        >>> import vitscope as vs
        >>> vs.worlds.world("shapes").sample(1).images()[0].save("shape.png")
        >>> picture = vs.pictures.read_picture("shape.png")
        >>> picture.mode, picture.size
        ('RGB', (96, 96))
    """
    with open_picture(typed_path(path, PictureError), max_pixels) as picture:
        return to_rgb(upright(picture))


@contextmanager
def open_picture(file: Path | Stored, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The decoded picture of a file as it is stored, for as long as the block lasts; every failure is a PictureError.

    ``file`` is taken as it is. What is raised inside the block for this picture is told as damage of the file, too.
    """
    with open_stored(file) as stream, decode(stream, file, max_pixels) as picture:
        yield picture


@contextmanager
def decode(stream: IO[bytes], file: Path | Stored, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """As ``open_picture`` for a file that is open already."""
    with _told(str(file)):
        picture = identify(stream, str(file))
        check_size(picture, max_pixels, str(file))
        picture.load()
        yield picture


def open_stored(file: Path | Stored) -> AbstractContextManager[IO[bytes]]:
    """The bytes of a picture, wherever it lies. Raises PictureError for what is no readable file or has no content."""
    return file.opened() if isinstance(file, Stored) else open_file(file)


@contextmanager
def open_file(file: Path, *, empty: bool = False) -> Iterator[IO[bytes]]:
    """The bytes of a file. Raises PictureError for what is no readable file, or without ``empty`` has no content."""
    _refuse_unreadable(file, empty)
    try:
        stream = file.open("rb")
    except OSError as error:
        raise unreadable(str(file), error) from error
    with stream:
        yield stream


@contextmanager
def _told(file: str) -> Iterator[None]:
    """Re-raise whatever goes wrong with this file as one line that names it."""
    try:
        yield
    except PictureError as error:
        message = str(error)
        told = PictureError(f"{file}: {message}")
        raise error if str(PictureError(file)) in message else told from error
    except (FileNotFoundError, PermissionError) as error:
        raise unreadable(file, error) from error
    except Exception as error:
        if "samples per pixel" in str(error):
            raise PictureError(
                f"{file} has more channels than picture files are read with (four); read it with a library for it, "
                "such as tifffile or rasterio, and pass the array (H, W, C) in Python"
            ) from error
        # Decoders raise nearly every type there is: OSError, SyntaxError, ValueError, struct.error, MemoryError ...
        raise PictureError(
            f"{file} is damaged or cut short and cannot be decoded ({brief(error)}); fetch or export it again"
        ) from error


def check_size(picture: Image.Image, max_pixels: int, name: str) -> None:
    """Raise PictureError for a picture of too many pixels, before it is decoded."""
    width, height = picture.size
    if width * height > max_pixels:
        raise PictureError(
            f"{name} is {width:,}×{height:,} pixels, more than the limit of {max_pixels:,} (it could be a "
            "decompression bomb); make it smaller or raise max_pixels (--max-pixels)"
        )


def id_of_stored(stream: IO[bytes], item: Path | Stored) -> str:
    """The hash of an opened file's content. Raises PictureError when it cannot be read."""
    try:
        return id_of_stream(stream)
    except OSError as error:
        raise unreadable(str(item), error) from error


def unreadable(file: str, error: OSError) -> PictureError:
    """What to raise when the system cannot open or read a file."""
    if isinstance(error, PermissionError):
        return PictureError(f"{file} may not be read by this user; change its permissions")
    if isinstance(error, FileNotFoundError):
        return PictureError(f"there is no file {file}; check the path")
    return PictureError(f"{file} cannot be read ({error.strerror or brief(error)}); check the disk")


def _refuse_unreadable(file: Path, empty: bool) -> None:
    try:
        if not file.exists():
            # A name that is too long does not exist for Path.exists from some Python on; stat tells.
            file.stat()
        if file.is_dir():
            raise PictureError(
                f"{file} is a folder, expected one file; name a file, or list its pictures with find_pictures"
            )
        if not file.is_file():
            raise PictureError(f"{file} is a device or a pipe, not a file; save its content to a file first")
        if not os.access(file, os.R_OK):
            raise PictureError(f"{file} may not be read by this user; change its permissions")
        if file.stat().st_size == 0 and not empty:
            raise PictureError(f"{file} is empty (0 bytes); fetch or export it again")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PictureError(f"there is no file {file}; check the path") from error
    except (OSError, ValueError) as error:
        raise PictureError(
            f"the path {str(file)[:200]!r} cannot be used ({brief(error)}); check it"
        ) from error
