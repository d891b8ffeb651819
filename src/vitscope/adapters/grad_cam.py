"""grad-cam's call form: ``with GradCAM(model=...) as cam: cam(input_tensor, targets=...)``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.adapters.errors import AdapterError
from vitscope.adapters.explained import at_size, checked_options, opened, ready
from vitscope.adapters.targets import from_grad_cam
from vitscope.methods import Explanation
from vitscope.methods.explaining.explain import explain
from vitscope.options.bounds import BatchSize
from vitscope.options.door import checked

TINY = 1e-7
"""What grad-cam adds to the largest value before it divides by it."""
BRIGHTNESS = (0.9, 1.0, 1.1)
"""What grad-cam multiplies the input by for ``aug_smooth``, each time as it is and mirrored."""


class GradCAM:
    """Maps of any method in the form that pytorch-grad-cam gives: (B, H, W) float32 from 0 to 1, for ready tensors.

    Negative values become 0, each map is scaled to 0..1, enlarged bilinearly to the input and scaled again, as there.
    The raw maps are in ``explanation`` after a call, the model's answers in ``outputs``.

    Args:
        model: An ``nn.Module``, or an opened model.
        target_layers: Not needed: the blocks are found by themselves. ``block=`` chooses one.
        reshape_transform: Not needed: class token, registers and grid are found by themselves.
        method: The method, see ``vs.methods()``.
        batch_size: Pictures in one pass. Changes no result.
        options: Options of the method, by name.

    Example:
        >>> import torch, vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vit.inputs(vs.worlds.world("shapes").sample(2, seed=1).images())
        >>> with vs.adapters.GradCAM(model=vit, method="dart") as cam:
        ...     maps = cam(pictures, targets=[7, 4])
        >>> maps.shape, maps.dtype, float(maps.min()), round(float(maps.max()), 3)
        ((2, 96, 96), dtype('float32'), 0.0, 1.0)
        >>> cam.explanation.maps.shape
        torch.Size([2, 12, 12])
    """

    @checked(AdapterError)
    def __init__(
        self,
        model: Any,
        target_layers: Any = None,
        reshape_transform: Any = None,
        *,
        method: str = "gradcam",
        batch_size: BatchSize = 16,
        **options: Any,
    ) -> None:
        for name, value in (("target_layers", target_layers), ("reshape_transform", reshape_transform)):
            if value is not None:
                raise AdapterError(
                    f"expected no {name}: blocks, class token and grid are found by themselves; leave it out, block= "
                    "chooses another block"
                )
        self.vit = opened(model)
        self.method, self.batch_size = method, batch_size
        self.options = checked_options(method, options)
        self.explanation: Explanation | None = None
        self.outputs: Tensor | None = None

    def __enter__(self) -> GradCAM:
        return self

    def __exit__(self, *what: object) -> None:
        """Nothing to take back: no hook was set."""

    @checked(AdapterError)
    def __call__(
        self, input_tensor: Any, targets: Any = None, aug_smooth: bool = False, eigen_smooth: bool = False
    ) -> NDArray[np.float32]:
        """Explain a batch.

        Args:
            input_tensor: (B, C, H, W) float, normalised for the model.
            targets: None (each picture's predicted class), one class, or a list with one for each picture: classes,
                ``ClassifierOutputTarget`` and the other targets of grad-cam, functions of one picture's logits (C,).
            aug_smooth: The mean over six inputs: as it is and mirrored, each times 0.9, 1 and 1.1.
            eigen_smooth: Not there; refused.

        Returns:
            (B, H, W) float32 from 0 to 1.

        Raises:
            AdapterError: The input is no such tensor, or another number of targets.
            TargetError: A target does not fit the model.
        """
        if eigen_smooth:
            raise AdapterError("expected eigen_smooth=False: maps are given as they are; leave it out")
        pictures = ready(input_tensor, "input_tensor")
        asked = from_grad_cam(targets, len(pictures))
        if not aug_smooth:
            return self._maps(pictures, asked)
        seen = []
        for mirrored in (False, True):
            for brightness in BRIGHTNESS:
                varied = (pictures.flip(3) if mirrored else pictures) * brightness
                maps = self._maps(varied, asked)
                seen.append(maps[:, :, ::-1] if mirrored else maps)
        mean: NDArray[np.float32] = np.mean(np.stack(seen), axis=0, dtype=np.float32)
        return mean

    def _maps(self, pictures: Tensor, target: Any) -> NDArray[np.float32]:
        found = explain(
            self.vit,
            pictures,
            self.method,
            target,
            batch_size=self.batch_size,
            keep_pictures=False,
            **self.options,
        )
        self.explanation, self.outputs = found, found.logits
        size = (int(pictures.shape[2]), int(pictures.shape[3]))
        large = at_size(_from_0_to_1(found.maps.cpu().float().clamp_min(0)), found, size, "bilinear")
        return _from_0_to_1(large).numpy()


def _from_0_to_1(maps: Tensor) -> Tensor:
    lowest = maps.flatten(1).amin(1)[:, None, None]
    risen = maps - lowest
    scaled: Tensor = risen / (TINY + risen.flatten(1).amax(1)[:, None, None])
    return torch.nan_to_num(scaled)
