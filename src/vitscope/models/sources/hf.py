"""``hf/FOLDER`` or ``hf/ORGANISATION/NAME``: transformers models, from a local folder or the hub."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vitscope.errors import ModelError, WeightsError
from vitscope.interruption import held, released
from vitscope.models.opening.architecture import output_of, size_of
from vitscope.models.opening.class_names import from_id2label
from vitscope.models.opening.image_processor import read_processor
from vitscope.models.opening.loaded import LoadedModel
from vitscope.models.opening.optional import require
from vitscope.models.opening.weights import load_with_head
from vitscope.models.sources.hf_text import text_tower, tokenizer_of
from vitscope.models.sources.registry import Request, not_built, not_fetched, register_source
from vitscope.storage.paths import typed_path

_CLASSIFIER = ("ForImageClassification", "ForImageClassificationWithTeacher", "ForSequenceClassification")


def _names() -> Iterable[str]:
    return ["FOLDER", "ORGANISATION/NAME"]


@register_source("hf", "transformers", _names)
def load(request: Request) -> LoadedModel:
    """Open a classifier, a bare encoder, or the picture tower of a contrastive model (text tower in ``extras``).

    The class is the one the configuration names, when it classifies; else the encoder without its training head.
    Weights become float32. Attention is computed by torch's ``scaled_dot_product_attention`` unless
    ``attn_implementation="eager"`` is asked for; kernels that hide it are refused. ``image_size`` other than the
    configured one switches position interpolation on. Other options go to ``from_pretrained``. Code that lies beside a
    model is run only with ``trust_remote_code=True``; nobody is asked on the keyboard.
    """
    transformers = require("transformers", "hf", f"hf/{request.name}")
    where = _place(request)
    options = dict(request.options)
    # transformers' own default asks on stdin, where an answer may be anything.
    trust = options.setdefault("trust_remote_code", False) is True
    asked = options.pop("attn_implementation", None)
    if asked not in (None, "sdpa", "eager"):
        raise ModelError(
            f"attention cannot be seen inside attn_implementation={asked!r}; "
            f"open hf/{request.name} with 'sdpa' or 'eager'"
        )
    notes: list[str] = []
    read: int | None = None
    with held(), quiet(transformers), released():
        config = _config(transformers, where, request, options)
        if request.wants_hub:
            module = _pretrained(transformers, config, where, request, asked, options, notes)
        else:
            module, read = _with_weights(transformers, config, request, asked)
        module.float()
        dual = _is_dual(config)
        extras: dict[str, Any] = {"config": config}
        preprocessor = None
        if dual:
            extras["text"] = text_tower(transformers, module, where, trust)
        if not dual and getattr(module, "main_input_name", "pixel_values") == "input_ids":
            size, shown = None, module
            extras["tokenizer"] = tokenizer_of(transformers, where, trust)
        else:
            preprocessor = read_processor(where, request.image_size, notes, trust)
            trained = _size(getattr(config, "vision_config", config))
            size = request.image_size or (preprocessor.size if preprocessor else trained)
            shown = _any_size(_picture_tower(module, request) if dual else module, size, trained, request)
    named = request.weights_label != "random" and output_of(module) == "logits" and read is None
    return LoadedModel(
        module=shown,
        source=f"hf/{request.name}",
        family=str(config.model_type),
        preprocessor=preprocessor,
        class_names=from_id2label(config.id2label) if named else None,
        extras=extras,
        image_size=size,
        output="embedding" if dual else output_of(module),
        weights=request.weights_label,
        notes=notes,
    )


class PictureTower(nn.Module):
    """The picture side of a contrastive model: pixels (B, 3, H, W) to the shared space (B, D), not normalised."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.vision_model = model.vision_model
        self.visual_projection = getattr(model, "visual_projection", None) or nn.Identity()

    def forward(self, pixel_values: Tensor, **options: Any) -> Tensor:
        projected: Tensor = self.visual_projection(self.vision_model(pixel_values, **options).pooler_output)
        return projected


class AnySize(nn.Module):
    """A model whose position embeddings are interpolated to whatever size comes in."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Any:
        return self.model(pixel_values, interpolate_pos_encoding=True)


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """No chatter and no progress bars of transformers on the way; its settings are put back."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _place(request: Request) -> str:
    folder = typed_path(request.name, ModelError)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"the folder {folder} holds no config.json; expected one made by save_pretrained()"
            )
        return str(folder)
    if folder.is_absolute() or request.name.startswith((".", "~")) or request.name.count("/") > 1:
        raise ModelError(f"there is no folder {folder}; expected hf/FOLDER or hf/ORGANISATION/NAME")
    return request.name


def _config(transformers: Any, where: str, request: Request, options: dict[str, Any]) -> Any:
    try:
        config = transformers.AutoConfig.from_pretrained(
            where, trust_remote_code=options["trust_remote_code"]
        )
        return _plain_vit(transformers, config) if config.model_type == "vit_mae" else config
    except (ValueError, KeyError) as error:
        if "custom code" in str(error) or "trust_remote_code" in str(error):
            raise ModelError(
                f"hf/{request.name} brings code of its own, which is not run; if you trust it, open it with "
                "trust_remote_code=True"
            ) from None
        raise not_built("hf", request.name, error) from error
    except Exception as error:
        raise not_fetched("hf", request.name, error) from error


def _plain_vit(transformers: Any, config: Any) -> Any:
    """The configuration of the plain ViT inside a masked autoencoder."""
    wanted = transformers.ViTConfig()
    shared = {name: value for name, value in config.to_dict().items() if name in wanted.to_dict()}
    for name in ("model_type", "transformers_version", "architectures"):
        shared.pop(name, None)
    return transformers.ViTConfig(**shared, architectures=["ViTModel"])


def _is_dual(config: Any) -> bool:
    architecture = (getattr(config, "architectures", None) or [""])[0]
    both = hasattr(config, "vision_config") and hasattr(config, "text_config")
    return both and not architecture.endswith(_CLASSIFIER)


def _class_for(transformers: Any, config: Any) -> Any:
    architecture = (getattr(config, "architectures", None) or [""])[0]
    if config.model_type == "vit":
        # Also what masked autoencoders became above; their own class shuffles and hides patches at every pass.
        known_vit = architecture.endswith(_CLASSIFIER) or not architecture
        return transformers.ViTForImageClassification if known_vit else transformers.ViTModel
    if architecture.endswith((*_CLASSIFIER, "WithProjection")) and hasattr(transformers, architecture):
        return getattr(transformers, architecture)
    if not architecture and not _is_dual(config):
        known = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
        if config.model_type in known:
            return transformers.AutoModelForImageClassification
    return transformers.AutoModel


def _from_config(transformers: Any, config: Any, request: Request, asked: str | None) -> Any:
    found = _class_for(transformers, config)
    build = getattr(found, "from_config", None) or found._from_config
    return _with_attention(lambda attention: build(config, attn_implementation=attention), request, asked)


def _with_weights(
    transformers: Any, config: Any, request: Request, asked: str | None
) -> tuple[Any, int | None]:
    """Built from its configuration, with the weights of a file; the number of classes where only these told it."""

    def build(classes: int | None) -> Any:
        if classes is not None:
            config.num_labels = classes
        return _from_config(transformers, config, request, asked)

    if request.weights is None:
        return build(None), None
    return load_with_head(build, request.weights, model=f"hf/{request.name}")


def _pretrained(
    transformers: Any, config: Any, where: str, request: Request, asked: str | None, options: dict[str, Any],
    notes: list[str],
) -> Any:  # fmt: skip
    found = _class_for(transformers, config)

    def build(attention: str, **more: Any) -> Any:
        return found.from_pretrained(
            where, config=config, attn_implementation=attention, output_loading_info=True, **options, **more
        )

    module, report = _with_attention(build, request, asked)
    missing = sorted(report.get("missing_keys", ()))
    if missing and all(key.startswith("pooler.") for key in missing):
        # Self-supervised encoders are published without the pooler that the class would make up at random.
        module, report = _with_attention(
            lambda attention: build(attention, add_pooling_layer=False), request, asked
        )
        missing = sorted(report.get("missing_keys", ()))
        notes.append("the weights have no pooler, so the model was opened without one")
    if missing:
        raise ModelError(
            f"the weights of hf/{request.name} lack {len(missing)} of the model's keys ({', '.join(missing[:3])}), "
            "which would be random; fetch the complete folder, or give weights="
        )
    broken = [name for name, value in module.named_parameters() if not bool(value.isfinite().all())]
    if broken:
        raise WeightsError(
            f"the weights of hf/{request.name} hold NaN or infinite values, first in {broken[0]} "
            f"({len(broken)} tensors); training must have diverged: use an earlier checkpoint"
        )
    return module


def _with_attention(build: Any, request: Request, asked: str | None) -> Any:
    """Build with the attention asked for, else with sdpa and, where a model has none, with eager attention."""
    try:
        return build(asked or "sdpa")
    except Exception as error:
        if asked is None and isinstance(error, ValueError) and "scaled_dot_product_attention" in str(error):
            return _with_attention(build, request, "eager")
        if isinstance(error, OSError):
            raise not_fetched("hf", request.name, error) from error
        raise not_built("hf", request.name, error) from error


def _size(config: Any) -> tuple[int, int] | None:
    holder = nn.Module()
    holder.config = config
    return size_of(holder)


def _picture_tower(model: Any, request: Request) -> nn.Module:
    if not isinstance(getattr(model, "vision_model", None), nn.Module):
        raise ModelError(
            f"hf/{request.name} is a {type(model).__name__}, which has no picture tower of its own; "
            "open a classifier, an encoder, or a contrastive model such as CLIP or SigLIP"
        )
    return PictureTower(model)


def _any_size(
    module: nn.Module, size: tuple[int, int] | None, trained: tuple[int, int] | None, request: Request
) -> nn.Module:
    """``module``, made ready for pictures of ``size`` where that is not the size it was trained at."""
    if size is None or trained is None or size == trained:
        return module
    inner = module.vision_model if isinstance(module, PictureTower) else module
    assert isinstance(inner, nn.Module)
    if "interpolate_pos_encoding" in inspect.signature(inner.forward).parameters:
        return AnySize(module)
    if request.image_size is not None:
        # The others either take any size by themselves (DINOv2, DINOv3) or none but their own: tried, not guessed.
        training = module.training
        try:
            with torch.no_grad():
                module.eval()(torch.zeros(1, 3, *size))
        except Exception as error:
            raise not_built("hf", request.name, error) from error
        finally:
            module.train(training)
    return module
