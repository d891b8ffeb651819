"""How much a change inside the model changes its output and its representation: one value per picture.

The metrics of head importance of Li et al., TVCG 2023, arXiv 2303.13731. p is the full model's softmax, q the changed
one's, t the label, y the full model's prediction. Everywhere a positive value means "the removed part was of use": a
drop of probability or logit, a rise of the loss, a loss of accuracy; negative values mean that it hurt. Distances,
divergences and the flip have no sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vitscope.heads.errors import HeadsError
from vitscope.models.anatomy import Anatomy


@dataclass(frozen=True)
class MetricInfo:
    """What a column of a :class:`HeadTable` means.

    Args:
        name: Its name.
        title: What it measures, with the unit.
        family: "output", "representation" or "gradient".
        signed: True when negative values mean that the head hurts.

    Example:
        >>> import vitscope as vs
        >>> vs.heads.METRICS["js_divergence"].title, vs.heads.METRICS["logit_drop_top"].signed
        ('Jensen-Shannon divergence (bits)', True)
    """

    name: str
    title: str
    family: str
    signed: bool


_INFOS = (
    MetricInfo("probability_drop_label", "probability of the label, drop", "output", True),
    MetricInfo("probability_drop_top", "probability of the prediction, drop", "output", True),
    MetricInfo("js_divergence", "Jensen-Shannon divergence (bits)", "output", False),
    MetricInfo("kl_divergence", "KL divergence (bits)", "output", False),
    MetricInfo("logit_drop_label", "logit of the label, drop", "output", True),
    MetricInfo("logit_drop_top", "logit of the prediction, drop", "output", True),
    MetricInfo("loss_rise_label", "cross-entropy of the label, rise (nats)", "output", True),
    MetricInfo("loss_rise_top", "cross-entropy of the prediction, rise (nats)", "output", True),
    MetricInfo("flip", "prediction flipped", "output", False),
    MetricInfo("accuracy_drop", "accuracy, drop", "output", True),
    MetricInfo("class_cosine_block", "class token after the block, 1 - cosine", "representation", False),
    MetricInfo("class_l2_block", "class token after the block, L2", "representation", False),
    MetricInfo("class_cosine_last", "class token at the last block, 1 - cosine", "representation", False),
    MetricInfo("class_l2_last", "class token at the last block, L2", "representation", False),
    MetricInfo(
        "patch_cosine_block", "patch tokens after the block, mean 1 - cosine", "representation", False
    ),
    MetricInfo("patch_l2_block", "patch tokens after the block, mean L2", "representation", False),
    MetricInfo(
        "patch_cosine_last", "patch tokens at the last block, mean 1 - cosine", "representation", False
    ),
    MetricInfo("patch_l2_last", "patch tokens at the last block, mean L2", "representation", False),
    MetricInfo("first_order", "first order, |<T, dT>|", "gradient", False),
    MetricInfo("first_order_signed", "first order, <T, dT>", "gradient", True),
    MetricInfo("first_order_label", "first order of the label, <T, dT>", "gradient", True),
    MetricInfo(
        "first_order_divergence", "Jensen-Shannon divergence at first order (bits)", "gradient", False
    ),
    MetricInfo("path_logit_drop", "logit of the prediction, drop by slopes at two places", "gradient", True),
    MetricInfo("path_loss_rise", "cross-entropy of the prediction, rise by slopes (nats)", "gradient", True),
)
METRICS: dict[str, MetricInfo] = {info.name: info for info in _INFOS}


def cross_entropy_bits(first: Tensor, second_log: Tensor) -> Tensor:
    """-sum p log2 q for p (n, C) and natural log q (n, C); 0 log 0 = 0."""
    terms = torch.where(first > 0, first * second_log, torch.zeros_like(first))
    return -terms.sum(-1) / torch.log(torch.tensor(2.0, dtype=first.dtype))


def kl_bits(p_log: Tensor, q_log: Tensor) -> Tensor:
    """KL(p || q) in bits from natural logarithms of probabilities (n, C); in [0, inf)."""
    p = p_log.exp()
    return (cross_entropy_bits(p, q_log) - cross_entropy_bits(p, p_log)).clamp_min(0)


def js_bits(p_log: Tensor, q_log: Tensor) -> Tensor:
    """Jensen-Shannon divergence, base 2, from natural logarithms of probabilities (n, C); in [0, 1]."""
    p, q = p_log.exp(), q_log.exp()
    half = torch.log(torch.tensor(2.0, dtype=torch.float64))
    mixture_log = torch.logaddexp(p_log, q_log) - half
    entropy_p, entropy_q = cross_entropy_bits(p, p_log), cross_entropy_bits(q, q_log)
    against = cross_entropy_bits(p, mixture_log) + cross_entropy_bits(q, mixture_log)
    return (0.5 * (against - entropy_p - entropy_q)).clamp(0, 1)


def as_classes(logits: Tensor, anatomy: Anatomy) -> Tensor:
    """Logits (n, C) of classes that exclude each other; one logit becomes two classes, no (0) and yes (1).

    Raises HeadsError for a model of several labels a picture: it has no one prediction that could change."""
    if anatomy.probability == "softmax":
        return logits
    if logits.shape[-1] == 1:
        return torch.cat([torch.zeros_like(logits), logits], -1)
    raise HeadsError(
        f"'{anatomy.source}' gives each of its {logits.shape[-1]} labels a probability of its own (sigmoid), so there "
        'is no one prediction that heads could change; open it with probability="softmax" if its classes exclude '
        "each other"
    )


def class_count(anatomy: Anatomy) -> int | None:
    """How many classes a label may name: two for one logit."""
    return 2 if anatomy.classes == 1 and anatomy.probability == "sigmoid" else anatomy.classes


def output_changes(logits: Tensor, changed: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
    """Every output metric for full logits (n, C) and changed logits (n, C): name -> (n,) float64.

    Metrics of the label are left out when there are no labels.
    """
    if logits.shape != changed.shape:
        raise HeadsError(
            f"expected logits of equal shape, got {tuple(logits.shape)} and {tuple(changed.shape)}; "
            "compare the same pictures on the same model."
        )
    before, after = logits.double(), changed.double()
    p_log, q_log = before.log_softmax(-1), after.log_softmax(-1)
    top = before.argmax(-1)
    changed_top = after.argmax(-1)

    def at(values: Tensor, classes: Tensor) -> Tensor:
        return values.gather(-1, classes[:, None]).squeeze(-1)

    values: dict[str, Tensor] = {}

    def add(suffix: str, classes: Tensor) -> None:
        values[f"probability_drop_{suffix}"] = at(p_log, classes).exp() - at(q_log, classes).exp()
        values[f"logit_drop_{suffix}"] = at(before, classes) - at(after, classes)
        values[f"loss_rise_{suffix}"] = at(p_log, classes) - at(q_log, classes)

    add("top", top)
    if labels is not None:
        labels = labels.to(before.device)
        add("label", labels)
        values["accuracy_drop"] = (top == labels).double() - (changed_top == labels).double()
    values["js_divergence"] = js_bits(p_log, q_log)
    values["kl_divergence"] = kl_bits(p_log, q_log)
    values["flip"] = (top != changed_top).double()
    return values


def token_change(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """(1 - cosine, L2) along the last axis, in float32; two zero vectors count as equal."""
    first, second = before.float(), after.float()
    norms = first.norm(dim=-1) * second.norm(dim=-1)
    cosine = torch.where(norms > 0, (first * second).sum(-1) / norms.clamp_min(1e-30), torch.ones_like(norms))
    return (1 - cosine).clamp(0, 2), (first - second).norm(dim=-1)


def class_changes(before: Tensor, after: Tensor, where: str) -> dict[str, Tensor]:
    """Change of the class token (n, D); where is "block" or "last"."""
    cosine, length = token_change(before, after)
    return {f"class_cosine_{where}": cosine, f"class_l2_{where}": length}


def patch_changes(before: Tensor, after: Tensor, where: str) -> dict[str, Tensor]:
    """Mean change over the patch tokens (n, P, D)."""
    cosine, length = token_change(before, after)
    return {f"patch_cosine_{where}": cosine.mean(-1), f"patch_l2_{where}": length.mean(-1)}
