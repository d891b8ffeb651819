"""To which models methods apply: what is asked of the anatomy, and the reason in words where it is not so."""

from __future__ import annotations

from vitscope.errors import MethodError
from vitscope.models.anatomy import Anatomy
from vitscope.options.door import checked


@checked(MethodError)
def token_methods(anatomy: Anatomy) -> str | None:
    """Whether methods apply that need attention between the tokens of one patch grid.

    To be passed to :func:`register` as ``applies``.

    Args:
        anatomy: What is known of the model, ``vit.anatomy``.

    Returns:
        None when they apply, else the reason why not.

    Example:
        >>> import vitscope as vs
        >>> print(vs.methods.token_methods(vs.open_model("bundled/shapes").anatomy))
        None
    """
    return anatomy.why_no_tokens()


def row_methods(anatomy: Anatomy) -> str | None:
    """Whether methods apply that need attention with token rows in at least one block.

    Args:
        anatomy: What is known of the model.

    Returns:
        None when they apply, else the reason why not.
    """
    reason = anatomy.why_no_tokens()
    if reason is None and not any(block.kind in ("self", "class") for block in anatomy.blocks):
        return "its blocks attend across channels only (cross-covariance), so tokens have no attention rows"
    return reason


@checked(MethodError)
def chained_methods(anatomy: Anatomy) -> str | None:
    """Whether methods apply that multiply the attention of all blocks, such as attention rollout.

    They need token rows in every block, of one length. To be passed to :func:`register` as ``applies``.

    Args:
        anatomy: What is known of the model, ``vit.anatomy``.

    Returns:
        None when they apply, else the reason why not.

    Example:
        >>> import vitscope as vs
        >>> print(vs.methods.chained_methods(vs.open_model("bundled/shapes").anatomy))
        None
    """
    return anatomy.why_no_row()


@checked(MethodError)
def pictures_only(anatomy: Anatomy) -> str | None:
    """Whether methods apply that change the pixels of the input: they need a model that takes pictures.

    To be passed to :func:`register` as ``applies``.

    Args:
        anatomy: What is known of the model, ``vit.anatomy``.

    Returns:
        None when they apply, else the reason why not (films, texts).

    Example:
        >>> import vitscope as vs
        >>> print(vs.methods.pictures_only(vs.open_model("bundled/shapes").anatomy))
        None
    """
    if anatomy.film:
        return "it works on the pixels of pictures, and this model takes films; use a method over tokens, such as gae"
    return (
        None if anatomy.image_size is not None else "it works on pixels, and this model's input is no picture"
    )
