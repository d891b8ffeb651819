"""What there is to compute on, and the folders that grow: caches with their sizes."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vitscope.storage.cache import cache_folder


@dataclass(frozen=True)
class Device:
    """One place to compute. ``memory``: bytes, None where it is the machine's own."""

    name: str
    what: str
    memory: int | None = None


@dataclass(frozen=True)
class Cache:
    """A folder that a library keeps files in, and how many bytes; 0 files when it is not there."""

    what: str
    folder: Path
    files: int
    bytes: int


def devices() -> list[Device]:
    """The devices that PyTorch can use; the CPU first."""
    import torch

    found = [Device("cpu", f"{torch.get_num_threads()} threads of {os.cpu_count()} cores")]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        known = torch.cuda.get_device_properties(index)
        found.append(Device(f"cuda:{index}", known.name, int(known.total_memory)))
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU"))
    return found


def caches(environment: Mapping[str, str] = os.environ) -> list[Cache]:
    """The folders of vitscope and of the libraries that fetch weights, as the environment names them."""
    home = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    hub = environment.get("HF_HUB_CACHE") or Path(environment.get("HF_HOME") or home / "huggingface") / "hub"
    torch_hub = Path(environment.get("TORCH_HOME") or home / "torch")
    return [
        _measured("vitscope: models kept ready for serve", cache_folder()),
        _measured("weights of Hugging Face and timm", Path(hub)),
        _measured("weights of torch.hub and torchvision", torch_hub),
    ]


def _measured(what: str, folder: Path) -> Cache:
    """The files below a folder; links are not followed, and what cannot be read counts nothing."""
    files = total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                known = os.lstat(os.path.join(place, name))
            except OSError:
                continue
            if stat.S_ISREG(known.st_mode):
                files, total = files + 1, total + known.st_size
    return Cache(what, folder, files, total)
