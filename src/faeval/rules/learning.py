"""Feedback that is learned by AdamW: tensors, their moments and the count of steps in one dict."""

from collections.abc import Mapping

import torch
from torch import Tensor

from faeval.core.adamw import adamw_
from faeval.rules.base import Feedback


def learnable(tensors: Mapping[str, Tensor]) -> Feedback:
    """`tensors`, and beside each its moments: everything that `learn` needs and changes."""
    moments = {
        f"{moment}.{name}": torch.zeros_like(t)
        for moment in ("exp_avg", "exp_avg_sq")
        for name, t in tensors.items()
    }
    return {**tensors, **moments, "steps": torch.zeros(())}


def descend(
    feedback: Feedback,
    loss: Tensor,
    parameters: Mapping[str, Tensor],
    *,
    learning_rate: float,
    weight_decay: float,
) -> None:
    """One AdamW step of `feedback` down the gradient of `loss` with respect to `parameters`, its
    tensors by name; those that the loss does not reach stay."""
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    taught = {n: g for n, g in zip(parameters, gradients, strict=True) if g is not None}
    learn(feedback, taught, learning_rate=learning_rate, weight_decay=weight_decay)


def learn(
    feedback: Feedback,
    gradients: Mapping[str, Tensor],
    *,
    learning_rate: float,
    weight_decay: float,
) -> None:
    """One AdamW step, in place, on the tensors of `feedback` that have a gradient."""
    feedback["steps"] += 1
    adamw_(
        [feedback[name] for name in gradients],
        list(gradients.values()),
        [feedback[f"exp_avg.{name}"] for name in gradients],
        [feedback[f"exp_avg_sq.{name}"] for name in gradients],
        feedback["steps"],
        learning_rate=learning_rate,
        weight_decay=weight_decay,
    )
