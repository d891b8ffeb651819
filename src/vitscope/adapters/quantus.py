"""Quantus' ``explain_func``: its metrics ask vitscope for their attributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.adapters.errors import AdapterError
from vitscope.adapters.explained import at_size, opened, ready
from vitscope.errors import brief
from vitscope.methods.explaining.explain import explain
from vitscope.options.bounds import BatchSize
from vitscope.options.door import checked


@checked(AdapterError)
def explain_func(
    model: Any,
    inputs: Any,
    targets: Any,
    *,
    method: str | None = None,
    device: Any = None,
    batch_size: BatchSize = 16,
    **options: Any,
) -> NDArray[np.float32]:
    """Explain a batch for a metric of Quantus, which calls it with each model that it makes.

    Args:
        model: An ``nn.Module``, or an opened model. A module is opened anew in each call.
        inputs: (B, C, H, W) float, normalised for the model; an array or a tensor.
        targets: One class for each picture, (B,), or None for the predicted ones.
        method: The method, see ``vs.methods()``; None takes the default one.
        device: Where the pictures are put; None leaves that to the model.
        batch_size: Pictures in one pass. Changes no result.
        options: Options of the method, by name.

    Returns:
        (B, 1, H, W) float32, raw: each pixel has the value of its patch.

    Raises:
        AdapterError: The input is no such array, or the model is none.
        TargetError: A target does not fit the model.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vit.inputs(vs.worlds.world("shapes").sample(2, seed=1).images()).numpy()
        >>> vs.adapters.explain_func(vit.model, pictures, [7, 4], method="gradcam").shape
        (2, 1, 96, 96)

        With a metric: ``quantus.PixelFlipping(...)(model=model, x_batch=x, y_batch=y, channel_first=True,
        explain_func=vs.adapters.explain_func, explain_func_kwargs={"method": "dart"})``.
    """
    pictures = ready(inputs, "inputs")
    if device is not None:
        pictures = _moved(pictures, device)
    target = np.asarray(targets) if isinstance(targets, (list, tuple)) else targets
    found = explain(
        opened(model), pictures, method, target, batch_size=batch_size, keep_pictures=False, **options
    )
    size = (int(pictures.shape[2]), int(pictures.shape[3]))
    values: NDArray[np.float32] = at_size(found.maps.cpu(), found, size, "nearest")[:, None].numpy()
    return values


def _moved(pictures: Tensor, device: Any) -> Tensor:
    try:
        return pictures.to(torch.device(device))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:  # unknown, not built in, not there
        raise AdapterError(
            f"expected device as one that is there, such as cpu, got {device!r:.40} ({brief(error)})"
        ) from error
