"""An opened model: what is known of it, and how pictures become its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitscope.errors import ModelError, PictureError
from vitscope.models.anatomy import Anatomy
from vitscope.models.opening.fingerprint import CurrentFingerprint
from vitscope.models.opening.loaded import LoadedModel, TextTower
from vitscope.models.opening.wrappers import refuse_unseeable, unwrapped
from vitscope.models.preparing.inputs import to_batch
from vitscope.options.bounds import Count, Precision
from vitscope.options.door import checked
from vitscope.pictures import Images
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.calls.calling import Inputs, outside_graphs, pictures_of, takes_first
from vitscope.tracing.passes.stages import Stage
from vitscope.tracing.probing.by_input_size import Probes
from vitscope.tracing.probing.conclusion import Probe
from vitscope.tracing.probing.overrides import Overrides
from vitscope.tracing.traced_model import TracedModel


class OpenedModel:
    """A vision transformer that was opened, never changed: its names, weights, anatomy and inputs.

    Attributes:
        loaded: What opening it gave.
        model: The plain ``nn.Module``, out of wrappers such as ``torch.compile``'s.
        precision: ``float32``, ``bf16`` or ``fp16``: what its passes run in.
        overrides: What the user said of its anatomy.
    """

    @checked(ModelError)
    def __init__(
        self,
        loaded: LoadedModel,
        *,
        device: str | torch.device | None = None,
        precision: Precision = "float32",
        overrides: Overrides | None = None,
    ) -> None:
        self.loaded = loaded
        refuse_unseeable(loaded.module)
        self.model: nn.Module = unwrapped(loaded.module)
        if device is not None:
            self.model.to(device)
        self.precision = precision
        self.overrides = overrides or Overrides()
        self._probes = Probes(self.model, loaded.source, loaded.family, self.overrides)
        self._fingerprint = CurrentFingerprint()
        self._size: tuple[int, int] | None = loaded.image_size

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source!r}, {self.family}, {self.precision} on {self.device})"

    # ---- what it is ------------------------------------------------------------------------------------------
    @property
    def source(self) -> str:
        """The name that the model was opened by."""
        return self.loaded.source

    @property
    def family(self) -> str:
        """The architecture's family, such as ``vision_transformer``."""
        return self.loaded.family

    @property
    def preprocessor(self) -> Any:
        """How pictures become tensors, None when the model came without a data configuration."""
        return self.loaded.preprocessor

    @property
    def class_names(self) -> list[str] | None:
        """Class names, None when unknown."""
        return self.loaded.class_names

    @property
    def text_tower(self) -> TextTower | None:
        """The text side of a contrastive model (CLIP, SigLIP), None when there is none."""
        return self.loaded.extras.get("text")

    @property
    def fingerprint(self) -> str:
        """Short hash of the weights as they are now, also after training or loading in place.

        Reads every weight, in a fraction of the time of a forward: ask once per result, not per batch."""
        return self._fingerprint.of(self.model)

    @property
    def device(self) -> torch.device:
        """Where the model's first parameter lies."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the model's first parameter, which its inputs get."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)

    @property
    @unaffected
    def image_size(self) -> tuple[int, int]:
        """The input size (H, W) in pixels that the model is looked at with by default.

        Raises ModelError when it runs on none of the usual sizes."""
        if self._size is None:
            self._size = self._probes.guess_size()
        return self._size

    @property
    def anatomy(self) -> Anatomy:
        """What a probe learned at the model's own input size: blocks, attention sites, token layout, pooling."""
        return self.anatomy_for(self.image_size)

    @checked(ModelError)
    @unaffected
    def anatomy_for(self, size: tuple[Count, Count]) -> Anatomy:
        """Learn the model's anatomy at another input size; one small pass when it is first asked for.

        Args:
            size: Height and width of the pictures in pixels.

        Returns:
            The anatomy, with the token grid of that size.

        Raises:
            ModelError: The model does not run on pictures of that size.

        Example:
            >>> import vitscope as vs
            >>> vs.open_model("bundled/shapes").anatomy_for((96, 96)).layout.grid
            (12, 12)
        """
        return self._probes.at_size(size).anatomy

    # ---- input -----------------------------------------------------------------------------------------------
    @unaffected
    def images(self, images: Images) -> Tensor:
        """Make one tensor of pictures in any form, prepared for this model.

        Args:
            images: Paths, Pillow images, arrays, or a ready tensor (B, 3, H, W), which is taken as it is.

        Returns:
            (B, 3, H, W) on the model's device and in its floating type.

        Raises:
            PictureError: A picture cannot be read, or pictures differ in size.
            ModelError: The model came without a way to prepare pictures, and they are not tensors.

        Example:
            >>> import vitscope as vs
            >>> vit = vs.open_model("bundled/shapes")
            >>> tuple(vit.images(vs.worlds.world("shapes").sample(2, seed=1).pictures).shape)
            (2, 3, 96, 96)
        """
        return outside_graphs(to_batch(images, self.preprocessor).to(self.device, self.dtype))

    @unaffected
    def inputs(self, images: Images) -> Inputs:
        """Make what the model is called with: pictures as ``images`` gives them, or arguments by name.

        Args:
            images: Pictures in any form, or a mapping of the model's arguments by name, batch first. Its tensors and
                arrays are moved to the model's device, flags are handed on. A mapping that holds nothing but the
                pictures (what an image processor returns) is the pictures.

        Returns:
            A tensor (B, 3, H, W), or the mapping.

        Raises:
            PictureError: A picture cannot be read, or the mapping holds no tensor.
        """
        if not isinstance(images, Mapping):
            return self.images(images)
        named = {key: self._argument(key, value) for key, value in images.items()}
        if not any(isinstance(value, Tensor) for value in named.values()):
            raise PictureError(
                f"the mapping holds no tensor ({', '.join(map(str, named)) or 'nothing'}); ask the processor for "
                'return_tensors="pt"'
            )
        pictures = pictures_of(named)
        if len(named) == 1 and pictures is not None and takes_first(self.model, next(iter(named))):
            return self.images(pictures)
        return named

    def _argument(self, name: str, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype != object:
            value = torch.from_numpy(value)
        if isinstance(value, list) and value and all(isinstance(v, (np.ndarray, Tensor)) for v in value):
            value = torch.stack([torch.as_tensor(v) for v in value])
        if not isinstance(value, Tensor):
            return value
        moved = value.to(self.device)
        return outside_graphs(moved.to(self.dtype) if moved.is_floating_point() else moved)

    @unaffected
    def probe_for(self, inputs: Inputs) -> Probe:
        """The probe at the size of these inputs, which are on the model's device; run once per size."""
        return self._probes.at(inputs)

    @unaffected
    def stages_for(self, inputs: Inputs) -> tuple[Stage, ...]:
        """The feature maps of a CNN or hierarchical model at each resolution; none for a text model."""
        return self._probes.stages_at(inputs)

    # ---- inside ----------------------------------------------------------------------------------------------
    def _traced(self, inputs: Inputs) -> TracedModel:
        found = self.probe_for(inputs)
        return TracedModel(
            module=self.model,
            source=self.source,
            anatomy=found.anatomy,
            precision=self.precision,
            embedding_call=found.embedding_call,
            notes=self.loaded.notes,
            class_names=self.class_names,
        )
