"""The quantity of a class that is explained: its logit, its probability or the logarithm of that."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Quantity = Literal["logit", "log_probability", "probability"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)

Probability = Literal["softmax", "sigmoid"]
"""How logits become probabilities: over the classes together, or each class by itself (several labels, one logit)."""


def quantity_of(logits: Tensor, quantity: str, probability: Probability = "softmax") -> Tensor:
    """Logits (B, C) as logits, log-probabilities or probabilities."""
    if quantity == "logit":
        return logits
    alone = probability == "sigmoid"
    if quantity == "log_probability":
        return torch.nn.functional.logsigmoid(logits) if alone else torch.log_softmax(logits, -1)
    return torch.sigmoid(logits) if alone else torch.softmax(logits, -1)


def suffix_of(quantity: str) -> str:
    """What a target's short form ends with; nothing for a logit."""
    return "" if quantity == "logit" else f":{quantity}"


def as_quantity(text: str) -> Quantity | None:
    """The quantity of that name, None where there is none."""
    return next((quantity for quantity in QUANTITIES if quantity == text), None)
