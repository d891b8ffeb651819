"""Tensors with a note: a safetensors file that any safetensors reader opens, and that tells when it was damaged."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.errors import DamagedError, OutputError
from vitscope.storage import files, notes
from vitscope.storage.files import Place
from vitscope.storage.kinds import remedy
from vitscope.storage.notes import Note
from vitscope.storage.seal import is_intact, seal

ENDING = ".safetensors"
KEY = "vitscope"
"""Name of the note in the file's own metadata."""
LONG_NOTE = "vitscope.note"
"""Name of the tensor (UTF-8 bytes) that holds a note too long for a safetensors header."""
LONG = 8_000_000
"""Letters above which a note is a tensor; a header may have 100 million."""
_HEADER_LIMIT = 100_000_000

Arrays = Mapping[str, Tensor | NDArray[Any]]


def save(path: Place, kind: str, tensors: Arrays, note: Note, *, version: int = 1) -> Path:
    """Write tensors and their note to one safetensors file (the ending is added when missing); returns its path.

    Args:
        path: The file. It appears whole or not at all; one that was there stays until then.
        kind: The field's word for the result; only this kind is read back.
        tensors: Any dtype that safetensors knows, any shape, on any device. Those that share memory are stored whole.
        note: JSON values: everything that is no tensor.
        version: Which form of this kind it is.

    Raises:
        OutputError: the file cannot be written, or something in it has no form in such a file.

    Example:
        >>> path = save("/tmp/vitscope-example/ones", "example", {"ones": torch.ones(2)}, {"made by": "hand"})
        >>> load(path, "example")
        ({'ones': tensor([1., 1.])}, {'made by': 'hand'})
    """
    return files.write(with_ending(path), encode(kind, tensors, note, version=version))


def load(path: Place, kind: str, *, version: int = 1) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the note of a file that `save` wrote.

    Raises StorageError, in one line, when it is missing, truncated or changed by as much as one bit, of another kind,
    of a newer version, or not ours.
    """
    return decode(files.read(path), path, kind, version=version)


def with_ending(path: Place) -> Path:
    """``path``, with ``.safetensors`` behind it when it does not end so."""
    target = Path(path)
    return target if target.suffix == ENDING else target.with_name(target.name + ENDING)


def encode(kind: str, tensors: Arrays, note: Note, *, version: int = 1) -> bytes:
    """The bytes of such a file, for a part of a folder. Raises OutputError as `save` does."""
    from safetensors.torch import save as serialise

    stored = _own_memory(kind, tensors)
    names = list(stored)
    document = notes.encode(kind, version, note, names=names)
    if len(document) > LONG:
        text = json.dumps(json.loads(document)["note"], separators=(",", ":")).encode()
        stored[LONG_NOTE] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        document = notes.encode(kind, version, None, names=names)
    try:
        content = serialise(stored, {KEY: document})
    except Exception as error:  # whatever the library met: a kind of tensor it does not know, memory
        raise OutputError(f"cannot write this {kind} ({error}); give plain dense tensors") from None
    found = notes.CHECKSUM.search(content, 8)
    if found is None:
        raise OutputError(f"cannot write this {kind} (its note was not taken up); update safetensors")
    return seal(content, found.start("digest"))


def decode(
    content: bytes, path: Place, kind: str, *, version: int = 1
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `encode` made, back. ``path`` is what messages call it. Raises StorageError as `load` does."""
    from safetensors.torch import load as deserialise

    header = _header(content, path, kind)
    document = header.get("__metadata__")
    text = document.get(KEY) if isinstance(document, dict) else None
    if not isinstance(text, str):
        raise notes.foreign(path, kind)
    note = notes.decode(text, path, kind, version)
    found = notes.CHECKSUM.search(content, 8)
    if found is None or not is_intact(content, found.start("digest")):
        raise notes.damaged(path, kind, "its checksum does not fit")
    try:
        tensors = deserialise(content)
    except Exception as error:
        raise notes.damaged(path, kind, str(error)) from None
    with notes.decoding(path, kind):
        if note is None:
            note = dict(json.loads(tensors.pop(LONG_NOTE).numpy().tobytes()))
        # The library gives them in any order; the one in which they were saved is part of the result.
        return {name: tensors[name] for name in json.loads(text)["names"]}, note


def _header(content: bytes, path: Place, kind: str) -> dict[str, Any]:
    """The safetensors header: eight bytes of length, then JSON."""
    if not content:
        raise DamagedError(f"{path} is empty; {remedy(kind)}")
    if len(content) < 8:
        raise notes.damaged(path, kind, "it is cut off or no safetensors file")
    (length,) = struct.unpack("<Q", content[:8])
    if length > min(len(content) - 8, _HEADER_LIMIT):
        raise notes.damaged(path, kind, "it is cut off or no safetensors file")
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):
        raise notes.damaged(path, kind, "its header cannot be read") from None
    if not isinstance(header, dict):
        raise notes.damaged(path, kind, "its header cannot be read")
    return header


def _own_memory(kind: str, tensors: Arrays) -> dict[str, Tensor]:
    """Each tensor on the CPU, contiguous, in memory of its own: safetensors refuses views of each other."""
    stored: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, given in tensors.items():
        if name == LONG_NOTE:
            raise OutputError(
                f"cannot write this {kind} (a tensor is called {LONG_NOTE}); give it another name"
            )
        try:
            tensor = given.detach() if isinstance(given, Tensor) else torch.from_numpy(np.array(given))
            tensor = tensor.cpu().resolve_conj().resolve_neg().contiguous()
            storage = tensor.untyped_storage()
        except (TypeError, RuntimeError, NotImplementedError) as error:
            raise OutputError(
                f"cannot write {name} of this {kind} ({error}); give a plain dense tensor"
            ) from None
        if storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone(memory_format=torch.contiguous_format)
            storage = tensor.untyped_storage()
        seen.add(storage.data_ptr())
        stored[name] = tensor
    return stored
