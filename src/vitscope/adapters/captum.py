"""Captum's call form: an object with ``attribute(inputs, target=...)`` that gives values of the input's shape."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vitscope.adapters.errors import AdapterError
from vitscope.adapters.explained import at_size, checked_options, opened, ready
from vitscope.adapters.targets import from_captum
from vitscope.methods import Explanation, default_method
from vitscope.methods.explaining.explain import explain
from vitscope.options.bounds import BatchSize
from vitscope.options.door import checked


class Attribution:
    """A method in the form of Captum's attributions, so that its metrics and its NoiseTunnel take it.

    Each pixel and channel of a patch has the patch's value, as Captum's FeatureAblation gives a group's value to all of
    the group.

    Args:
        model: An ``nn.Module``, or an opened model.
        method: The method, see ``vs.methods()``; None takes the default one.
        batch_size: Pictures in one pass. Changes no result.
        options: Options of the method, by name.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vit.inputs(vs.worlds.world("shapes").sample(2, seed=1).images())
        >>> values = vs.adapters.Attribution(vit, "gae").attribute(pictures, target=[7, 4])
        >>> values.shape == pictures.shape, bool((values[:, :, 0, 0] == values[:, :, 7, 7]).all())
        (True, True)
    """

    is_gradient_method = False
    multiplies_by_inputs = False

    @checked(AdapterError)
    def __init__(
        self, model: Any, method: str | None = None, *, batch_size: BatchSize = 16, **options: Any
    ) -> None:
        self.vit = opened(model)
        self.method = default_method(self.vit.anatomy) if method is None else method
        self.batch_size = batch_size
        self.options = checked_options(self.method, options)
        self.forward_func = self.vit.model
        self.explanation: Explanation | None = None

    def has_convergence_delta(self) -> bool:
        """Whether values come with what they lack to the score: no."""
        return False

    @checked(AdapterError)  # which leaves the __wrapped__ that NoiseTunnel looks for
    def attribute(self, inputs: Any, target: Any = None) -> Any:
        """Explain a batch.

        Args:
            inputs: (B, C, H, W) float, normalised for the model; or a tuple of one such tensor.
            target: None (each picture's predicted class), a class, or one for each picture.

        Returns:
            Values of the input's shape and type, on its device; a tuple of one when a tuple was given.

        Raises:
            AdapterError: The input is no such tensor, or the target is an index of several numbers.
            TargetError: The target does not fit the model.
        """
        if isinstance(inputs, tuple):
            if len(inputs) != 1:
                raise AdapterError(f"expected inputs as one tensor of pictures, got a tuple of {len(inputs)}")
            return (self._values(ready(inputs[0], "inputs"), target),)
        return self._values(ready(inputs, "inputs"), target)

    def _values(self, pictures: Tensor, target: Any) -> Tensor:
        found = explain(
            self.vit, pictures, self.method, from_captum(target), batch_size=self.batch_size, keep_pictures=False,
            **self.options,
        )  # fmt: skip
        self.explanation = found
        large = at_size(found.maps, found, (int(pictures.shape[2]), int(pictures.shape[3])), "nearest")
        return large.to(pictures)[:, None].expand_as(pictures).contiguous()
