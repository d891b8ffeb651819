"""Models are opened without torch's compiler, which is there, unchanged, for who compiles afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from packaging.version import Version

MAP = (
    "import sys, torch; marking = torch.compiler.disable; import vitscope as vs; "
    "vit = vs.open_model('timm/vit_tiny_patch16_224', pretrained=False, depth=2); "
    "vs.explain(vit, torch.randn(1, 3, *vit.image_size)); "
    "assert not {'torch._dynamo', 'torch._dynamo.utils', 'sympy'} & set(sys.modules); "
    "assert torch.compiler.disable is marking; "
)
LATER = """
import torch._dynamo.utils
asked = sys.modules["torchvision.ops.roi_align"].is_compile_supported
for device in ("cpu", "cuda"):
    assert asked(device) == torch._dynamo.utils.is_compile_supported(device)
compiled = torch.compile(vit.model, backend="eager")
image = torch.randn(1, 3, *vit.image_size)
assert torch.allclose(compiled(image), vit.model(image), atol=1e-5)
"""
MARKED = """
import sys, torch
from vitscope.models.quick_imports import without_compiler
marking = torch.compiler.disable
try:
    with without_compiler(), without_compiler():
        @torch.compiler.disable
        def plain(x):
            return x.cos()
        @torch.compiler.disable(recursive=False, reason="a reason")
        def outer(x):
            return x.tan()
        1 / 0
except ZeroDivisionError:
    pass
assert torch.compiler.disable is marking and not {"torch._dynamo", "torch._dynamo.utils"} & set(sys.modules)
with without_compiler():
    from torch._dynamo.utils import counters
import torch._dynamo.utils
assert counters is torch._dynamo.utils.counters and "vitscope" not in type(torch._dynamo.utils).__module__
assert torch.compiler.disable is marking
with without_compiler():
    assert torch.compiler.disable is marking
graphs = []
def keep(module, inputs):
    graphs.append(module.code)
    return module.forward
compiled = torch.compile(lambda x: (plain(x.sin()) + outer(x)).exp(), backend=keep)
assert torch.allclose(compiled(torch.ones(2)), (torch.ones(2).sin().cos() + torch.ones(2).tan()).exp())
told = "".join(graphs)
assert "sin" in told and "exp" in told and "cos" not in told and "tan" not in told, told
"""


def run(code: str) -> None:
    """Run it in a Python of its own; what fails there fails here."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.9"), reason="this PyTorch imports its compiler by itself"
)
def test_a_first_map_needs_no_compiler_and_who_compiles_later_has_it() -> None:
    run(MAP + LATER)


def test_what_is_marked_meanwhile_is_not_compiled_and_all_else_is_the_compilers_own() -> None:
    run(MARKED)
