"""Any ``nn.Module`` as a source: never changed, and asked for the metadata that it carries."""

from __future__ import annotations

from torch import nn

from vitscope.errors import ModelError
from vitscope.models.opening.architecture import family_of, output_of, size_of
from vitscope.models.opening.loaded import LoadedModel
from vitscope.models.opening.own_metadata import ask, knowing_parts
from vitscope.models.opening.wrappers import refuse_unseeable, unwrapped


def from_module(module: object, image_size: tuple[int, int] | None = None) -> LoadedModel:
    """Any ``nn.Module``. Class names and preparation come from timm's or transformers' records when it carries them,
    also inside wrappers (see ``own_metadata.ask``).

    The module is neither moved nor switched to evaluation nor changed in any other way.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"expected a model's name such as 'timm/deit_tiny_patch16_224' or a torch nn.Module; got "
            f"{type(module).__name__}"
        )
    plain = unwrapped(module)
    refuse_unseeable(plain)
    parts = list(knowing_parts(plain).values())
    inner = parts[0] if len(parts) == 1 else plain
    size = image_size or size_of(plain) or size_of(inner)
    known = ask(plain, size)
    return LoadedModel(
        module=plain,
        source=f"{type(plain).__module__}.{type(plain).__qualname__}",
        family=family_of(inner),
        preprocessor=known.preprocessor,
        class_names=known.class_names,
        image_size=size or (known.preprocessor.size if known.preprocessor else None),
        output=output_of(plain),
        notes=known.notes,
    )
