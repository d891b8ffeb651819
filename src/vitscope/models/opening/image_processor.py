"""The preparation of pictures that transformers saved beside a model, ``preprocessor_config.json``."""

from __future__ import annotations

from vitscope.errors import ModelError
from vitscope.models.opening.optional import require
from vitscope.models.preparing.preprocessor import Preprocessor
from vitscope.models.preparing.published import from_image_processor


def read_processor(
    where: str, size: tuple[int, int] | None, notes: list[str], trust: bool = False
) -> Preprocessor | None:
    """The preparation of pictures published beside a model; None, with a note, when there is none to follow."""
    transformers = require("transformers", "hf", "reading preprocessor_config.json")
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(where, trust_remote_code=trust)
        recipe = from_image_processor(processor)
    except ModelError as error:
        notes.append(str(error))
        return None
    except Exception as error:
        notes.append(
            f"no readable preprocessor_config.json beside the model ({type(error).__name__}); give preprocess="
        )
        return None
    return recipe if size is None or size == recipe.size else recipe.with_size(size)
