"""What ``peer_facts.py`` asks of each package: its own documented calls, on small ViTs of four libraries.

A call takes a model and pictures (B, 3, 224, 224) and gives maps. ``needs`` are the things that the caller writes for
it beside model, pictures and class; ``bare`` are calls without them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Call = Callable[[Any, Tensor], Any]
CLASS = 1
"""The class that is asked about."""
SIDE = 7
"""Patches along a side of the models' grid."""


@dataclass(frozen=True)
class Package:
    """One package: how it is installed, and the calls that are tried on it."""

    name: str
    distribution: str
    module: str
    maps: Mapping[str, Call] = field(default_factory=dict)
    """By the library that the model is of."""
    needs: tuple[str, ...] = ()
    bare: Call | None = None
    """Nothing but model, pictures and class, on a timm model."""
    methods: Callable[[], Mapping[str, Call]] = dict
    """By the name of the method, on a model of the library ``on``."""
    on: str = "timm"
    flow: tuple[str, Call] | None = None
    """The library, and a call that gives one map for each block."""
    heads: tuple[str, Call] | None = None
    """The library, and a call that gives the attention of every head, (B, L, H, N, N) or (B, L, H, h, w)."""
    metrics: Callable[[], Iterable[str]] = tuple


def model_of(library: str) -> Any:
    """A small ViT with random weights: 2 blocks, 3 heads, 7 x 7 patches, a class token; of open_clip a whole CLIP."""
    torch.manual_seed(0)
    if library == "timm":
        import timm

        made = timm.create_model("vit_tiny_patch16_224", depth=2, patch_size=32, embed_dim=48, num_classes=10)
    elif library == "torchvision":
        from torchvision.models import VisionTransformer

        made = VisionTransformer(224, 32, 2, 3, 48, 96, num_classes=10)
        nn.init.normal_(made.heads.head.weight)  # it begins at nothing, and so would every gradient
    elif library == "transformers":
        from transformers import ViTConfig, ViTForImageClassification

        made = ViTForImageClassification(
            ViTConfig(
                hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=224,
                patch_size=32, num_labels=10,
            )
        )  # fmt: skip
    elif library == "open_clip":
        from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

        made = CLIP(
            32,
            CLIPVisionCfg(layers=2, width=48, head_width=16, patch_size=32, image_size=224),
            CLIPTextCfg(context_length=77, vocab_size=49408, width=32, heads=2, layers=1),
        )
    else:
        raise ValueError(f"expected timm, torchvision, transformers or open_clip, got {library!r}")
    return made.eval()


def to_grid(tokens: Tensor) -> Tensor:
    """Tokens without the class token as a picture of channels: the function that CAM packages ask the caller for."""
    return tokens[:, 1:].unflatten(1, (SIDE, SIDE)).permute(0, 3, 1, 2)


def public(module: str) -> dict[str, Any]:
    """Public functions and classes of a module that the package itself defines."""
    found = importlib.import_module(module)
    top = module.partition(".")[0]
    return {
        name: thing
        for name, thing in vars(found).items()
        if not name.startswith("_") and callable(thing) and getattr(thing, "__module__", "").startswith(top)
    }


def classes_of(module: str, base: type) -> dict[str, Any]:
    """Public classes of a module that are of one kind, the kind itself left out."""
    return {
        name: thing
        for name, thing in public(module).items()
        if isinstance(thing, type) and issubclass(thing, base) and thing is not base
    }


class Logits(nn.Module):
    """A wrapper that gives a model's logits as a tensor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).logits


# ---- vitscope --------------------------------------------------------------------------------------------------------
def of_vitscope(method: str, library: str = "timm") -> Call:
    def call(model: Any, x: Tensor) -> Tensor:
        import vitscope as vs

        asked = (
            {"target": CLASS} if library != "open_clip" else {"target": vs.Custom(lambda out: out[:, CLASS])}
        )
        return vs.explain(vs.open_model(getattr(model, "visual", model)), x, method, **asked).maps

    return call


def vitscope_methods() -> dict[str, Call]:
    import vitscope as vs

    return {info.name: of_vitscope(info.name) for info in vs.methods() if info.family != "control"}


def vitscope_flow(model: Any, x: Tensor) -> Tensor:
    import vitscope as vs

    return vs.explain(vs.open_model(model), x, "daam", target=CLASS).flow


def vitscope_heads(model: Any, x: Tensor) -> Tensor:
    import vitscope as vs

    with torch.no_grad():
        trace = vs.open_model(model).trace(x)
        return torch.stack([site.attention() for site in trace.sites], 1)


def vitscope_metrics() -> list[str]:
    from vitscope.evaluation.metric import all_metrics

    return [info.name for info in all_metrics()]


# ---- grad-cam --------------------------------------------------------------------------------------------------------
def of_grad_cam(kind: str, layer: Callable[[Any], list[nn.Module]], inside: Callable[[Any], Any]) -> Call:
    def call(model: Any, x: Tensor) -> Tensor:
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        made = getattr(pytorch_grad_cam, kind)
        targets = [ClassifierOutputTarget(CLASS)] * len(x)
        given: dict[str, Any] = {"reshape_transform": to_grid}
        if kind == "AblationCAM":
            from pytorch_grad_cam.ablation_layer import AblationLayerVit

            given["ablation_layer"] = AblationLayerVit()
        with made(model=inside(model), target_layers=layer(model), **given) as cam:
            return torch.from_numpy(cam(input_tensor=x, targets=targets))

    return call


def last_timm(model: Any) -> list[nn.Module]:
    return [model.blocks[-1].norm1]


def last_transformers(model: Any) -> list[nn.Module]:
    return [[each for name, each in model.named_modules() if name.endswith("layernorm_before")][-1]]


def itself(model: Any) -> Any:
    return model


def grad_cam_methods() -> dict[str, Call]:
    from pytorch_grad_cam.base_cam import BaseCAM

    return {name: of_grad_cam(name, last_timm, itself) for name in classes_of("pytorch_grad_cam", BaseCAM)}


def grad_cam_bare(model: Any, x: Tensor) -> Tensor:
    from pytorch_grad_cam import GradCAM

    return torch.from_numpy(GradCAM(model=model)(input_tensor=x))


def grad_cam_flow(model: Any, x: Tensor) -> Tensor:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layers = [block.norm1 for block in model.blocks]
    with GradCAM(model=model, target_layers=layers, reshape_transform=to_grid) as cam:
        cam(input_tensor=x, targets=[ClassifierOutputTarget(CLASS)] * len(x))
        maps = cam.compute_cam_per_layer(x, [ClassifierOutputTarget(CLASS)] * len(x), False)
    return torch.stack([torch.from_numpy(each)[:, 0] for each in maps], 1)


# ---- captum ----------------------------------------------------------------------------------------------------------
def captum_saliency(forward: Callable[[Any], Any]) -> Call:
    def call(model: Any, x: Tensor) -> Tensor:
        from captum.attr import Saliency

        return Saliency(forward(model)).attribute(x.clone().requires_grad_(), target=CLASS).detach()

    return call


def captum_methods() -> dict[str, Call]:
    from captum.attr import (
        Attribution,
        LayerAttribution,
        NeuronAttribution,
        PerturbationAttribution,
        Saliency,
    )

    rows = torch.arange(224) // 32
    patches = (rows[:, None] * SIDE + rows)[None, None]

    def made(kind: Any) -> Call:
        def call(model: Any, x: Tensor) -> Tensor:
            name, in_layer = kind.__name__, issubclass(kind, LayerAttribution)
            layer = (model.blocks[-1].norm1,) if in_layer or name == "GuidedGradCam" else ()
            options: dict[str, Any] = {} if name == "LayerActivation" else {"target": CLASS}
            if issubclass(kind, PerturbationAttribution) and name != "Occlusion" and not in_layer:
                options["feature_mask"] = patches
            if name == "Occlusion":
                options |= {"sliding_window_shapes": (3, 32, 32), "strides": (3, 32, 32)}
            if name in ("GradientShap", "DeepLiftShap", "LayerGradientShap", "LayerDeepLiftShap"):
                options["baselines"] = torch.zeros_like(x)
            explainer = kind(Saliency(model)) if name == "NoiseTunnel" else kind(model, *layer)
            found = explainer.attribute(x.clone().requires_grad_(), **options)
            return (found[0] if isinstance(found, tuple) else found).detach()

        return call

    # For language models and data loaders; foundations of others; 2^49 passes.
    skipped = {"LimeBase", "ShapleyValues", "DataLoaderAttribution"}
    kinds = {name: kind for name, kind in classes_of("captum.attr", Attribution).items() if "LLM" not in name}
    bases = {
        base for kind in kinds.values() for base in kind.__mro__[1:] if base.__name__.endswith("Attribution")
    }
    return {
        name: made(kind)
        for name, kind in kinds.items()
        if name not in skipped and kind not in bases and not issubclass(kind, NeuronAttribution)
    }


def captum_flow(model: Any, x: Tensor) -> Tensor:
    from captum.attr import LayerGradientXActivation

    layers = [block.norm1 for block in model.blocks]
    found = LayerGradientXActivation(model, layers).attribute(x, target=CLASS)
    return torch.stack([to_grid(each.detach()).sum(1) for each in found], 1)


# ---- torchcam --------------------------------------------------------------------------------------------------------
def of_torchcam(kind: str, layer: Callable[[Any], Any], inside: Callable[[Any], Any]) -> Call:
    def call(model: Any, x: Tensor) -> Tensor:
        from torchcam import methods

        given: dict[str, Any] = {} if kind == "LeGrad" else {"reshape_transform": to_grid}
        if kind in ("ScoreCAM", "SSCAM", "ISCAM"):
            given["input_shape"] = tuple(x.shape[1:])
        chosen = inside(model)
        with getattr(methods, kind)(chosen, layer(model), **given) as cam:
            return cam(CLASS, chosen(x))[0].detach()

    return call


def torchcam_methods() -> dict[str, Call]:
    from torchcam import methods

    return {
        name: of_torchcam(name, lambda model: model.blocks[-1].norm1, itself)
        for name in methods.activation.__all__ + methods.gradient.__all__
    }


def torchcam_bare(model: Any, x: Tensor) -> Tensor:
    from torchcam.methods import GradCAM

    with GradCAM(model) as cam:
        found = cam(CLASS, model(x))[0].detach()
        if cam.target_names != ["blocks.1.norm1"]:
            raise RuntimeError(f"gives a map, but of the layer {cam.target_names[0]}")
        return found


def torchcam_flow(model: Any, x: Tensor) -> Tensor:
    from torchcam.methods import GradCAM

    layers = [block.norm1 for block in model.blocks]
    with GradCAM(model, layers, reshape_transform=to_grid) as cam:
        return torch.stack([each.detach() for each in cam(CLASS, model(x))], 1)


# ---- LeGrad, LXT, BertViz, ViT-Prisma, Quantus -----------------------------------------------------------------------
def legrad(model: Any, x: Tensor) -> Tensor:
    from legrad import LeWrapper

    text = torch.nn.functional.normalize(
        torch.randn(1, 32, generator=torch.Generator().manual_seed(0)), dim=1
    )
    maps = [LeWrapper(model).compute_legrad_clip(image=each[None], text_embedding=text) for each in x]
    return torch.cat(maps)[:, 0].detach()


def lxt(model: Any, x: Tensor) -> Tensor:
    """Its quick form: patch the library's classes, then input times gradient."""
    from lxt.efficient import monkey_patch

    home = importlib.import_module(type(model).__module__)
    monkey_patch(home)
    given = x.clone().requires_grad_()
    model(given)[:, CLASS].sum().backward()
    return (given * given.grad).sum(1).detach()


def bertviz(model: Any, x: Tensor) -> Tensor:
    """The attention that its view shows, read back from the page that it makes."""
    import json
    import re

    from bertviz import model_view

    model.set_attn_implementation("eager")
    with torch.no_grad():
        attention = model(x[:1], output_attentions=True).attentions
    names = ["class", *(f"{row},{column}" for row in range(SIDE) for column in range(SIDE))]
    page = model_view(attention, names, html_action="return").data
    found = re.search(r'"attn": (\[\[\[\[.*?\]\]\]\])', page)
    return torch.tensor(json.loads(found.group(1)))[None]  # type: ignore[union-attr]


def prisma_heads(model: Any, x: Tensor) -> Tensor:
    """Its HookedViT with the weights of a timm model, by its own conversion; the same logits, or it is refused."""
    from vit_prisma.configs.HookedViTConfig import HookedViTConfig
    from vit_prisma.models.base_vit import HookedViT
    from vit_prisma.prisma_tools.loading_from_pretrained import convert_timm_weights

    settings = HookedViTConfig(
        n_layers=2, d_model=48, d_head=16, d_mlp=192, n_heads=3, patch_size=32, image_size=224, n_classes=10,
        return_type="logits", activation_name="gelu",
    )  # fmt: skip
    hooked = HookedViT(settings)
    missing = hooked.load_state_dict(convert_timm_weights(model.state_dict(), settings), strict=False)
    if missing.missing_keys:
        raise RuntimeError(f"weights without a place: {missing.missing_keys[:3]}")
    with torch.no_grad():
        logits, cache = hooked.run_with_cache(x)
        difference = float((logits - model(x)).abs().max())
    if difference > 1e-3:
        raise RuntimeError(f"its copy of the model answers otherwise, by {difference:.2g}")
    return torch.stack([cache[f"blocks.{block}.attn.hook_pattern"] for block in range(2)], 1)


def quantus_metrics() -> list[str]:
    import quantus

    return [name for group in quantus.AVAILABLE_METRICS.values() for name in group]


def visual(model: Any) -> Any:
    return model.visual


def function_of_logits(model: Any) -> Any:
    return lambda x: model(x).logits


def listed(*modules: str) -> Callable[[], Iterable[str]]:
    """Public functions of these modules, or classes that no other of them is a kind of."""

    def names() -> Iterable[str]:
        found = {name: thing for module in modules for name, thing in public(module).items()}
        kinds = {name: thing for name, thing in found.items() if isinstance(thing, type)}
        bases = {base for thing in kinds.values() for base in thing.__mro__[1:]}
        return [name for name in kinds or found if kinds.get(name) not in bases and "decorator" not in name]

    return names


def grad_cam_metrics() -> Iterable[str]:
    """Its classes that judge maps, which are called with ``cams``."""
    found = listed("pytorch_grad_cam.metrics.cam_mult_image", "pytorch_grad_cam.metrics.road")()
    modules = [
        importlib.import_module(f"pytorch_grad_cam.metrics.{name}") for name in ("cam_mult_image", "road")
    ]
    kinds = {name: thing for module in modules for name, thing in vars(module).items()}
    asked = {name: inspect.signature(kinds[name].__call__).parameters.values() for name in found}
    return [
        name
        for name in found
        if any(each.name == "cams" or each.kind is each.VAR_POSITIONAL for each in asked[name])
    ]


PACKAGES = (
    Package(
        "vitscope", "vitscope", "vitscope",
        maps={each: of_vitscope("gradcam", each) for each in ("timm", "torchvision", "transformers", "open_clip")},
        bare=of_vitscope("dart"), methods=vitscope_methods, flow=("timm", vitscope_flow),
        heads=("timm", vitscope_heads), metrics=vitscope_metrics,
    ),
    Package(
        "grad-cam", "grad-cam", "pytorch_grad_cam", needs=("layer", "function that reshapes tokens"),
        maps={
            "timm": of_grad_cam("GradCAM", last_timm, itself),
            "torchvision": of_grad_cam("GradCAM", lambda m: [m.encoder.layers[-1].ln_1], itself),
            "transformers": of_grad_cam("GradCAM", last_transformers, Logits),
            "open_clip": of_grad_cam("GradCAM", lambda m: [m.visual.transformer.resblocks[-1].ln_1], visual),
        },
        bare=grad_cam_bare, methods=grad_cam_methods, flow=("timm", grad_cam_flow),
        metrics=grad_cam_metrics,
    ),
    Package(
        "Captum", "captum", "captum",
        maps={
            "timm": captum_saliency(itself),
            "torchvision": captum_saliency(itself),
            "transformers": captum_saliency(function_of_logits),
            "open_clip": captum_saliency(visual),
        },
        bare=captum_saliency(itself), methods=captum_methods, flow=("timm", captum_flow),
        metrics=listed("captum.metrics"),
    ),
    Package(
        "torchcam", "torchcam", "torchcam", needs=("layer", "function that reshapes tokens"),
        maps={
            "timm": of_torchcam("GradCAM", lambda m: m.blocks[-1].norm1, itself),
            "torchvision": of_torchcam("GradCAM", lambda m: m.encoder.layers[-1].ln_1, itself),
            "transformers": of_torchcam("GradCAM", lambda m: last_transformers(m)[0], Logits),
            "open_clip": of_torchcam("GradCAM", lambda m: m.visual.transformer.resblocks[-1].ln_1, visual),
        },
        bare=torchcam_bare, methods=torchcam_methods, flow=("timm", torchcam_flow), metrics=listed("torchcam.metrics"),
    ),
    Package(
        "LeGrad", "legrad-torch", "legrad", maps={"timm": legrad, "open_clip": legrad}, needs=("text embedding",),
        methods=lambda: {"LeGrad": legrad}, on="open_clip",
    ),
    Package(
        "LXT", "lxt", "lxt", maps={"timm": lxt, "torchvision": lxt, "transformers": lxt},
        methods=lambda: {"LRP": lxt}, on="torchvision",
    ),
    Package("Quantus", "quantus", "quantus", metrics=quantus_metrics),
    Package("BertViz", "bertviz", "bertviz", heads=("transformers", bertviz)),
    Package("ViT-Prisma", "vit-prisma", "vit_prisma", heads=("timm", prisma_heads)),
)  # fmt: skip
