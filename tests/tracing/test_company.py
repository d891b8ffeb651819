"""In company: other threads, hooks that explain, and whatever the caller has switched on change no value."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.tracing.test_nothing_left import same, state
from vitscope.errors import VitscopeError
from vitscope.methods import Explanation
from vitscope.tracing import Vit
from vitscope.tracing.calls.guard import exclusive

METHODS = ["gmar", "dart"]


def small(seed: int = 0, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    size = {"img_size": 32, "num_classes": 4, "depth": 2, "embed_dim": 12, "num_heads": 2}
    return timm.create_model("vit_tiny_patch16_224", **{**size, **options})


def pictures(seed: int = 1) -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def opened(model: nn.Module) -> Vit:
    return vs.open_model(model, image_size=32)


def assert_equal(found: dict[str, Explanation], wanted: dict[str, Explanation]) -> None:
    assert found.keys() == wanted.keys()
    for name, explanation in found.items():
        torch.testing.assert_close(explanation.maps, wanted[name].maps)
        torch.testing.assert_close(explanation.logits, wanted[name].logits)
        assert explanation.metadata.get("diagnostics") == wanted[name].metadata.get("diagnostics"), name


# ---- threads ----------------------------------------------------------------------------------------------------
class Around(nn.Module):
    """Another model around the same one."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * 2


def one_vit() -> list[Vit]:
    vit = opened(small(drop_rate=0.5))
    return [vit, vit]


def shared_blocks() -> list[Vit]:
    first, second = small(drop_rate=0.5), small(5, drop_rate=0.5)
    second.blocks = first.blocks
    return [opened(first), opened(second)]


def wrapper_and_inner() -> list[Vit]:
    model = small(drop_rate=0.5)
    return [opened(model), vs.open_model(Around(model), image_size=32, classes=4)]


def tied_parameters() -> list[Vit]:
    first, second = small(drop_rate=0.5), small(5, drop_rate=0.5)
    for name, parameter in first.blocks[1].named_parameters():
        holder, _, leaf = name.rpartition(".")
        setattr(second.blocks[1].get_submodule(holder), leaf, parameter)
    return [opened(first), opened(second)]


@contextmanager
def quick_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def in_threads(*works: Callable[[], None]) -> None:
    """All at once; every error is raised here, and a deadlock fails."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread waits for ever"
    if errors:
        raise errors[0]


@pytest.mark.parametrize("make", [one_vit, shared_blocks, wrapper_and_inner, tied_parameters])
def test_threads_get_what_they_get_alone(make: Callable[[], list[Vit]]) -> None:
    vits = make()
    for vit in vits:
        vit.model.train()
    images = [pictures(1), pictures(2)]
    alone = [vs.explain(vit, image, METHODS) for vit, image in zip(vits, images, strict=True)]
    before = [state(vit.model) for vit in vits]

    def work(index: int) -> None:
        for _ in range(8):
            assert_equal(vs.explain(vits[index], images[index], METHODS), alone[index])

    with quick_turns():
        in_threads(lambda: work(0), lambda: work(1))
    assert all(same(a, state(vit.model)) for a, vit in zip(before, vits, strict=True))


def test_models_that_share_nothing_run_side_by_side() -> None:
    """Each thread is inside its own model at the same moment, so neither waited for the other."""
    vits = [opened(small(0)), opened(small(1))]
    for vit in vits:
        vit.forward(pictures())
    both = threading.Barrier(2, timeout=30)

    def wait(*_: Any) -> None:
        both.wait()

    for vit in vits:
        vit.model.blocks[0].register_forward_pre_hook(wait)
    in_threads(*(lambda vit=vit: vit.forward(pictures()) for vit in vits))


@pytest.mark.parametrize("make", [shared_blocks, wrapper_and_inner, tied_parameters])
def test_models_that_share_anything_run_one_after_the_other(make: Callable[[], list[Vit]]) -> None:
    first, second = make()
    for vit in (first, second):
        vit.forward(pictures())
    order: list[str] = []

    def begin_the_other(*_: Any) -> None:
        if not order:
            order.append("first begins")
            other.start()
            other.join(0.3)  # time enough to run, if it may
            order.append("first ends")

    other = threading.Thread(target=lambda: (second.forward(pictures()), order.append("second is done")))
    hook = first.model.get_submodule("patch_embed").register_forward_hook(begin_the_other)
    first.forward(pictures())
    hook.remove()
    other.join(30)
    assert order == ["first begins", "first ends", "second is done"]


def test_a_run_of_the_users_own_on_another_thread_is_not_taken_for_ours() -> None:
    vit, other = opened(small()), pictures(9)
    wanted = vs.explain(vit, pictures(), METHODS)

    def meanwhile(*_: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=lambda: vit.model(other))
            thread.start()
            thread.join()

    handle = vit.model.blocks[0].register_forward_hook(meanwhile)
    try:
        assert_equal(vs.explain(vit, pictures(), METHODS), wanted)
    finally:
        handle.remove()


def test_two_threads_inside_each_others_models_are_refused_and_not_stuck() -> None:
    vits = [opened(small(0)), opened(small(1))]
    both = threading.Barrier(2, timeout=30)
    told: list[str] = []

    def work(index: int) -> None:
        with exclusive(vits[index].model):
            both.wait()
            try:
                vits[1 - index].forward(pictures())
            except VitscopeError as error:
                told.append(str(error))

    in_threads(lambda: work(0), lambda: work(1))
    assert len(told) == 1 and "wait for each other" in told[0]


# ---- nested -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("which", "place"),
    [
        ("the same model", "blocks.0"),
        ("another model", "blocks.1.attn"),
        ("shared blocks", "blocks.1.mlp.act"),
        ("the same model", "patch_embed"),
    ],
)
def test_a_hook_that_explains_while_its_model_is_explained(which: str, place: str) -> None:
    vit = opened(small())
    inner = (
        vit
        if which == "the same model"
        else sharing_blocks(vit)
        if which == "shared blocks"
        else opened(small(5))
    )
    x, y = pictures(1), pictures(2)
    wanted, wanted_inside = vs.explain(vit, x, METHODS), vs.explain(inner, y, METHODS)
    wanted_resumed = inner.resume(inner.cache(y), 1)
    busy: list[bool] = []
    inside: list[Any] = []

    def hook(*_: Any) -> None:
        if not busy:
            busy.append(True)
            inside.append((vs.explain(inner, y, METHODS), inner.resume(inner.cache(y), 1)))
            busy.clear()

    handle = vit.model.get_submodule(place).register_forward_hook(hook)
    before = state(vit.model)
    try:
        assert_equal(vs.explain(vit, x, METHODS), wanted)
        torch.testing.assert_close(vit.resume(vit.cache(x), 1), wanted["gmar"].logits)
    finally:
        handle.remove()
    assert len(inside) >= 2
    for explained, resumed in inside:
        assert_equal(explained, wanted_inside)
        torch.testing.assert_close(resumed, wanted_resumed)
    after = state(vit.model)
    assert {k for k in before if not same(before[k], after[k])} <= {"hooks"}  # the test's own


def sharing_blocks(vit: Vit) -> Vit:
    other = small(5)
    other.blocks = vit.model.blocks
    return opened(other)


# ---- the caller's switches --------------------------------------------------------------------------------------
@contextmanager
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)
        forget_device()


@contextmanager
def on_meta() -> Iterator[None]:
    with torch.device("meta"):
        yield
    forget_device()


def forget_device() -> None:
    """PyTorch up to 2.7 remembers None and stumbles over it when it is asked for the default device."""
    known = torch._GLOBAL_DEVICE_CONTEXT  # type: ignore[attr-defined]
    if getattr(known, "device_context", False) is None:
        del known.device_context


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def rounded() -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


SWITCHES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "default dtype": default_dtype,
    "default device": default_device,
    "with device": on_meta,
    "deterministic": deterministic,
    "float32 rounded": rounded,
}


def everything(vit: Vit, x: Tensor, model: nn.Module) -> dict[str, Any]:
    found = {
        "trace": vit.trace(x).sites[0].attention_gradient(),
        "forward": vit.forward(x),
        "predict": vit.predict(x),
    }
    for name in ["rollout", "gmar", "dart", "attnlrp", "smoothgrad"]:
        found[name] = vs.explain(vit, x, name).maps
    table = vs.heads.importance(vit, x).to_pandas().select_dtypes("number")
    found["importance"] = torch.from_numpy(table.to_numpy(dtype="float32"))
    found["opened"] = opened(model).predict(x)
    return found


@pytest.fixture(scope="module")
def usual() -> dict[str, Any]:
    return everything(opened(small().train()), pictures(), small())


@pytest.mark.parametrize("name", SWITCHES)
def test_the_callers_switches_change_nothing_and_stay(name: str, usual: dict[str, Any]) -> None:
    vit, x, model = opened(small().train()), pictures(), small()
    with SWITCHES[name]():
        before = switches()
        if name in ("default device", "with device"):  # the test's own tensors must not land there
            found = {"rollout": vs.explain(vit, x, "rollout").maps}
            found["forward"], found["gmar"] = vit.forward(x), vs.explain(vit, x, "gmar").maps
        else:
            found = everything(vit, x, model)
        assert switches() == before
    for key, value in found.items():
        assert value.dtype == usual[key].dtype and (key == "importance" or not value.is_inference()), key
        torch.testing.assert_close(value, usual[key], rtol=1e-6, atol=1e-7, equal_nan=True)


def switches() -> list[Any]:
    return [
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.are_deterministic_algorithms_enabled(),
        len(torch.overrides._get_current_function_mode_stack()),
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
    ]


class MakesTensors(nn.Module):
    """Its forward makes a tensor of the default dtype, as models that were written under float64 may."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = small()

    def forward(self, x: Tensor) -> Tensor:
        out = self.vit(x)
        return out @ torch.eye(out.shape[-1])


def test_a_model_made_under_a_default_dtype_runs_under_it() -> None:
    with default_dtype():
        model = MakesTensors()
        assert next(model.parameters()).dtype == torch.float64
        vit = vs.open_model(model, image_size=32, classes=4)
        explained = vs.explain(vit, pictures(), "rollout")
        wanted = model.eval()(pictures().double())
        torch.testing.assert_close(vit.predict(pictures()).double(), wanted, rtol=1e-5, atol=1e-6)
    assert explained.maps.dtype == torch.float32


# ---- what is handed in ------------------------------------------------------------------------------------------
class InPlace(nn.Module):
    """Normalises what it is given in place, and adds up in place inside."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = small()
        self.strides: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.strides.append(x.stride())
        return self.vit(x.sub_(0.5).div_(0.25))


@pytest.mark.parametrize(
    "name", ["rollout", "gmar", "dart", "attnlrp", "saliency", "smoothgrad", "occlusion", "rise"]
)
def test_a_model_that_writes_into_its_input_changes_no_tensor_of_the_users(name: str) -> None:
    model = InPlace()
    vit = vs.open_model(model, image_size=32, classes=4)
    plain = opened(model.vit)
    x = pictures()
    given = x.clone()
    found = vs.explain(vit, given, name)
    assert torch.equal(given, x)
    torch.testing.assert_close(found.logits, plain.predict((x - 0.5) / 0.25))
    torch.testing.assert_close(vs.explain(vit, given, name).maps, found.maps)


def test_strides_of_the_input_are_kept() -> None:
    model = InPlace()
    vit = vs.open_model(model, image_size=32, classes=4)
    for x in (pictures().to(memory_format=torch.channels_last), pictures().transpose(2, 3)):
        vit.forward(x)
        vs.explain(vit, x, "gae")
        assert model.strides[-2:] == [x.stride()] * 2


def test_gradients_and_flags_of_the_input_are_left_alone() -> None:
    vit, x = opened(small()), pictures().requires_grad_()
    (x * 2).sum().backward()
    before = x.grad.clone()  # type: ignore[union-attr]
    for name in ("gae", "saliency", "dart"):
        vs.explain(vit, x, name)
    assert x.requires_grad and torch.equal(x.grad, before)  # type: ignore[arg-type]
    assert all(p.grad is None for p in vit.model.parameters())


# ---- recomputing ------------------------------------------------------------------------------------------------
class Checkpointed(nn.Module):
    """Runs its blocks under ``torch.utils.checkpoint``, imported by name."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.vit, self.reentrant = small(), reentrant

    def forward(self, x: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint

        x = self.vit._pos_embed(self.vit.patch_embed(x))
        for block in self.vit.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant)
        return self.vit.forward_head(self.vit.norm(x))


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_left_on_changes_no_value(reentrant: bool) -> None:
    methods = ["rollout", "gmar", "daam", "gae", "dart", "gradcam", "attnlrp"]
    wanted = vs.explain(opened(small()), pictures(), methods)
    model = Checkpointed(reentrant)
    found = vs.explain(vs.open_model(model, image_size=32, classes=4), pictures(), methods)
    for name in methods:
        torch.testing.assert_close(found[name].maps, wanted[name].maps)
    # and afterwards checkpointing works as before: the forward runs again on the way back
    runs: list[int] = []
    model.vit.blocks[0].register_forward_pre_hook(lambda *_: runs.append(1))
    model.train()(pictures().requires_grad_()).sum().backward()
    assert len(runs) == 2


def test_timms_own_checkpointing_switch() -> None:
    model = small()
    model.set_grad_checkpointing(True)
    for name in ("gae", "dart"):
        torch.testing.assert_close(
            vs.explain(opened(model), pictures(), name).maps,
            vs.explain(opened(small()), pictures(), name).maps,
        )
    assert model.grad_checkpointing
