"""Fixtures for every room's tests: where the real assets are, one open DeiT-Tiny, and nothing left behind."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

# A test must never reach for a hub: fail at once instead of hanging on a closed network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from hypothesis import settings

from tests.needed import needed
from tests.servers import S3, s3_server

# To look through the million objects of PyTorch and its like again and again takes a thirtieth of the suite's time.
gc.set_threshold(50_000)

REPOSITORY = Path(__file__).resolve().parent.parent
WEIGHTS = "models/deit_tiny_patch16_224.safetensors"


# The same examples in every run, and nothing remembered between runs: a test that passed passes again, and what was
# found elsewhere becomes an @example. Other examples: pytest --hypothesis-profile=default.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")


def _assets_folder() -> Path:
    named = Path(os.environ.get("VITSCOPE_ASSETS", "../shared")).expanduser()
    return (named if named.is_absolute() else REPOSITORY / named).resolve()


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    """Under xdist each worker gets its share of the cores; alone, at most four threads."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    cores = os.cpu_count() or 1
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", max(1, min(4, cores) // workers))))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with real weights and photographs; without it a test is skipped, or fails when it is required."""
    folder = _assets_folder()
    if (folder / WEIGHTS).is_file() and (folder / "images").is_dir():
        return folder
    message = f"no {WEIGHTS} and images/ in {folder}; set VITSCOPE_ASSETS to the folder that holds them"
    needed(message)


@pytest.fixture(scope="session")
def deit_weights(assets: Path) -> Path:
    """The weights file of the real ImageNet DeiT-Tiny."""
    return assets / WEIGHTS


@pytest.fixture(scope="session")
def sample_pictures(assets: Path) -> list[Path]:
    """The paths of the 100 sample photographs, sorted."""
    return sorted((assets / "images" / "sample").glob("*.jpg"))


@pytest.fixture(scope="session")
def _open_deit(deit_weights: Path) -> object:
    import vitscope as vs

    return vs.open_model("timm/deit_tiny_patch16_224", weights=deit_weights)


@pytest.fixture
def deit(_open_deit: object) -> Iterator[object]:
    """The real DeiT-Tiny as a ``Vit``, one for the session; each test must leave it as it found it."""
    module = _open_deit.model  # type: ignore[attr-defined]
    before = _module_state(module)
    yield _open_deit
    assert _module_state(module) == before, "the test left hooks, gradients or flags on the shared DeiT-Tiny"


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """One S3 server of this machine for the session; ``s3.bucket()`` is the URL of a new bucket."""
    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Whatever a test does, torch's process-wide switches are afterwards what they were before."""
    before = _global_state()
    yield
    assert _global_state() == before, "the test left a process-wide switch of torch changed"


def _global_state() -> dict[str, object]:
    modules = torch.nn.modules.module
    return {
        "default dtype": torch.get_default_dtype(),
        "gradient mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "attention fast path": torch.backends.mha.get_fastpath_enabled(),
        "function modes": len(torch.overrides._get_current_function_mode_stack()),
        "scaled_dot_product_attention": torch.nn.functional.scaled_dot_product_attention,
        "softmax": torch.nn.functional.softmax,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "float32": (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32),
        "global hooks": (
            len(modules._global_forward_hooks),
            len(modules._global_forward_pre_hooks),
            len(modules._global_backward_hooks),
        ),
        "fused kernels": (
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
        ),
    }


def _module_state(module: torch.nn.Module) -> dict[str, object]:
    return {
        "training": [m.training for m in module.modules()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in module.modules()
        ],
        "forwards": [name for name, m in module.named_modules() if "forward" in m.__dict__],
        "requires gradient": [p.requires_grad for p in module.parameters()],
        "gradients": [p.grad is None for p in module.parameters()],
        "sum": sum(float(p.detach().double().sum()) for p in module.parameters()),
    }
