"""Maps of the same pictures while a model is trained, in TensorBoard or in Weights & Biases."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from vitscope.adapters.errors import AdapterError
from vitscope.adapters.explained import checked_options, opened
from vitscope.adapters.other_packages import package
from vitscope.methods import Explanation, default_method
from vitscope.methods.explaining.explain import explain
from vitscope.options.bounds import BatchSize, Range
from vitscope.options.door import checked
from vitscope.pictures import Images
from vitscope.tracing.targets.parsing import TargetLike

Every = Annotated[int, Range(1, 10**9)]
Step = Annotated[int, Range(0, 10**15)]


class MapLogger:
    """Call it with the step in a training loop: every so often the overlays of some pictures are logged.

    Training is not touched: afterwards the module is in its own mode again, with its gradients and without a hook, and
    the random numbers are those of a run without maps.

    Args:
        model: An ``nn.Module``, or an opened model; the one that is trained.
        images: The pictures, a few: ready tensors, or any form where the model was opened with its preprocessing.
        writer: TensorBoard's ``SummaryWriter``, or a run of Weights & Biases (what ``wandb.init`` gives).
        method: The method, see ``vs.methods()``; None takes the default one.
        target: What is explained, as in :func:`vitscope.explain`.
        every: Steps between two logs.
        tag: The first part of the name under which they are logged.
        batch_size: Pictures in one pass. Changes no result.
        options: Options of the method, by name.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
        >>> class Kept:
        ...     def add_image(self, tag, picture, step, dataformats):
        ...         print(tag, picture.dtype, step, dataformats)
        >>> log = vs.adapters.MapLogger(vit, pictures, Kept(), method="gae", every=100)
        >>> log(0).method, log(50)
        vitscope/gae/0 uint8 0 HWC
        vitscope/gae/1 uint8 0 HWC
        ('gae', None)
    """

    @checked(AdapterError)
    def __init__(
        self,
        model: Any,
        images: Images,
        writer: Any,
        *,
        method: str | None = None,
        target: TargetLike = None,
        every: Every = 1,
        tag: str = "vitscope",
        batch_size: BatchSize = 16,
        **options: Any,
    ) -> None:
        self.vit = opened(model)
        self.images, self.target, self.every, self.tag, self.batch_size = (
            images,
            target,
            every,
            tag,
            batch_size,
        )
        self.method = default_method(self.vit.anatomy) if method is None else method
        self.options = checked_options(self.method, options)
        if not hasattr(writer, "add_image") and not callable(getattr(writer, "log", None)):
            raise AdapterError(
                "expected writer as TensorBoard's SummaryWriter or a run of Weights & Biases, got "
                f"{type(writer).__name__}"
            )
        self.writer = writer

    @checked(AdapterError)
    def __call__(self, step: Step) -> Explanation | None:
        """Log the maps of this step, when it is one of every so many.

        Args:
            step: The number of the training step.

        Returns:
            The explanation, None when nothing was logged.
        """
        if step % self.every:
            return None
        found = explain(
            self.vit, self.images, self.method, self.target, batch_size=self.batch_size, **self.options
        )
        name = f"{self.tag}/{self.method}"
        drawn = [found.overlay(index) for index in range(len(found))]
        if hasattr(self.writer, "add_image"):
            for index, picture in enumerate(drawn):
                self.writer.add_image(f"{name}/{index}", np.asarray(picture), step, dataformats="HWC")
            return found
        image = package("wandb", "a picture for Weights & Biases").Image
        labelled = [image(picture, caption=found.class_name(i) or str(i)) for i, picture in enumerate(drawn)]
        self.writer.log({name: labelled}, step=step)
        return found
