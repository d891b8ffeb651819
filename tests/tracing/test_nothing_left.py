"""Whatever a pass does, and whatever happens inside it, the model and the process are afterwards as before."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vitscope as vs
from tests.zoo import build, fresh, inputs, open_zoo
from vitscope.errors import VitscopeError
from vitscope.tracing import Capture, HeadAblation, TokenRemoval, Vit, constant_gate


def state(model: nn.Module) -> dict[str, Any]:
    modules = list(model.modules())
    return {
        "training": [m.training for m in modules],
        "hooks": [[len(getattr(m, k)) for k in m.__dict__ if k.endswith("_hooks")] for m in modules],
        "attributes": [sorted(m.__dict__) for m in modules],
        "flags": [(p.requires_grad, p.grad is None) for p in model.parameters()],
        "values": {k: v.clone() for k, v in model.state_dict().items()},
        "gradient mode": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "sdpa": F.scaled_dot_product_attention,
        "modes": len(torch.overrides._get_current_function_mode_stack()),
        "autocast": torch.is_autocast_enabled("cpu"),
        "random": torch.get_rng_state(),
        "stance": torch._dynamo.eval_frame._stance.stance,
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


JOBS: dict[str, Callable[[Vit, Any], Any]] = {
    "trace": lambda vit, x: vit.trace(x, capture=Capture(True, True, True, not isinstance(x, dict))),
    "rules": lambda vit, x: vit.trace(x, rules=constant_gate(0.5)),
    "no gradient": lambda vit, x: vit.trace(x, gradient=False),
    "forward": lambda vit, x: vit.forward(x),
    "removal": lambda vit, x: vit.forward(x, removal=TokenRemoval(torch.arange(16).expand(2, -1) % 3 > 0)),
    "ablation": lambda vit, x: vit.forward(x, ablation=HeadAblation(torch.zeros(1, 2, 3))),
    "resume": lambda vit, x: vit.resume(vit.cache(x), 1),
    "probe": lambda vit, x: vs.open_model(vit.model, image_size=64).anatomy,
}


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("name", ["timm-vit", "encoder-pre-norm", "multihead-weights", "hf-vit-eager"])
def test_every_job_leaves_all_as_it_was(name: str, job: str) -> None:
    model = fresh(name)
    vit = vs.open_model(model, image_size=64)
    model.train()  # flags of all kinds, to be put back exactly
    next(iter(model.children())).eval()
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(index % 2 == 0)
    before = state(model)
    JOBS[job](vit, inputs(name))
    assert same(before, state(model))


class Breaks(nn.Module):
    """A model whose last block raises."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.armed = False
        handle = inner.encoder.layers[1].register_forward_hook(self._maybe)
        assert handle is not None

    def _maybe(self, *_: Any) -> None:
        if self.armed:
            raise KeyError("broken inside")

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


@pytest.mark.parametrize("job", [job for job in JOBS if job != "probe"])
def test_an_exception_inside_the_model_leaves_all_as_it_was(job: str) -> None:
    model = Breaks(fresh("encoder-pre-norm")).train()
    vit, x = vs.open_model(model, image_size=64), inputs("encoder-pre-norm")
    vit.forward(x)
    cache = vit.cache(x)
    model.armed = True
    before = state(model)
    with pytest.raises(KeyError, match="broken inside"):
        vit.resume(cache, 1) if job == "resume" else JOBS[job](vit, x)
    with pytest.raises(VitscopeError, match=r"does not run on pictures of 64x64: KeyError: 'broken inside'"):
        vs.open_model(model, image_size=64).anatomy  # noqa: B018
    assert same(before, state(model))


def test_an_exception_while_resuming_uncovers_the_blocks() -> None:
    model = Breaks(fresh("encoder-pre-norm"))
    vit, x = vs.open_model(model, image_size=64), inputs("encoder-pre-norm")
    own = model.inner.encoder.layers[0].forward
    model.inner.encoder.layers[0].forward = own  # somebody's own shadow must survive
    cache = vit.cache(x)
    model.armed = True
    with pytest.raises(KeyError):
        vit.resume(cache, 1)
    assert model.inner.encoder.layers[0].__dict__["forward"] is own
    model.armed = False
    torch.testing.assert_close(vit.resume(cache, 1), vit.forward(x))
    assert model.inner.encoder.layers[0].__dict__["forward"] is own


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_inside_the_callers_gradient_modes(mode: Callable[[], Any]) -> None:
    vit, x = open_zoo("timm-vit"), inputs("timm-vit")
    expected = vit.trace(x)
    with mode():
        trace = vit.trace(x.clone(), capture=Capture(streams=True, image=True))  # type: ignore[union-attr]
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
        assert not torch.is_grad_enabled()
        inside = trace.sites[0].attention_gradient()
        opened = vs.open_model(build("timm-vit"), image_size=64).trace(x)
        resumed = vit.resume(vit.cache(x), 1)
    torch.testing.assert_close(inside, expected.sites[0].attention_gradient())
    torch.testing.assert_close(opened.sites[1].attention_gradient(), expected.sites[1].attention_gradient())
    torch.testing.assert_close(resumed, expected.logits)
    assert not trace.sites[0].output_gradient.is_inference()  # type: ignore[union-attr]
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_parameters_made_in_inference_mode_are_refused_for_gradients() -> None:
    with torch.inference_mode():
        model = fresh("timm-vit")
        vit = vs.open_model(model, image_size=64)
        assert vit.forward(inputs("timm-vit")).shape == (2, 10)
    assert vit.trace(inputs("timm-vit"), gradient=False).logits.shape == (2, 10)
    with pytest.raises(VitscopeError, match=r"made under torch.inference_mode.*; create or load") as error:
        vit.trace(inputs("timm-vit"))
    assert "\n" not in str(error.value)


def test_a_trace_keeps_no_graph_of_the_callers_input() -> None:
    x = inputs("timm-vit").clone().requires_grad_()  # type: ignore[union-attr]
    trace = open_zoo("timm-vit").trace(x, capture=Capture(image=True))
    assert x.grad is None and x.requires_grad
    assert not trace.logits.requires_grad and not trace.images.requires_grad


def test_scripted_models_are_refused() -> None:
    traced = torch.jit.trace(copy.deepcopy(build("torchvision-vit")), inputs("torchvision-vit"))
    with pytest.raises(VitscopeError, match=r"TorchScript|scripted") as error:
        vs.open_model(traced, image_size=64)
    assert "\n" not in str(error.value)


def test_compiled_models_are_unwrapped() -> None:
    model = fresh("timm-vit")
    vit = vs.open_model(torch.compile(model), image_size=64)
    assert vit.model is model
    expected = open_zoo("timm-vit").trace(inputs("timm-vit"))
    torch.testing.assert_close(vit.trace(inputs("timm-vit")).logits, expected.logits)


def test_compiled_parts_run_eagerly_and_are_seen() -> None:
    model = fresh("timm-vit")
    model.blocks[1] = torch.compile(model.blocks[1])  # type: ignore[operator,index]
    model.blocks[0].compile()  # type: ignore[index,union-attr]
    vit = vs.open_model(model, image_size=64)
    assert len(vit.anatomy.blocks) == 2
    expected = open_zoo("timm-vit").trace(inputs("timm-vit"))
    trace = vit.trace(inputs("timm-vit"))
    torch.testing.assert_close(trace.sites[1].attention_gradient(), expected.sites[1].attention_gradient())
    torch.testing.assert_close(vit.resume(vit.cache(inputs("timm-vit")), 2), expected.logits)


def test_two_threads_do_not_meet() -> None:
    """Inner attention of ``nn.MultiheadAttention`` is caught by a process-wide name; each thread sees its own."""
    names = ["encoder-pre-norm", "multihead-weights"]
    expected = {n: open_zoo(n).trace(inputs(n)).sites[1].attention_gradient() for n in names}
    problems: list[str] = []

    def work(name: str, vit: Vit) -> None:
        for _ in range(15):
            found = vit.trace(inputs(name)).sites[1].attention_gradient()
            if not torch.allclose(found, expected[name], atol=1e-6):
                problems.append(name)

    before = F.scaled_dot_product_attention
    own = [vs.open_model(fresh(n), image_size=64) for n in names]
    pairs = [*zip(names, own, strict=True)] * 2  # two threads on each model
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert F.scaled_dot_product_attention is before
    assert torch.backends.mha.get_fastpath_enabled()
