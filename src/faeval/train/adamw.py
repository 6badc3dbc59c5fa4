"""AdamW over named parameters: plain tensors for the checkpoint, no per-parameter groups."""

from collections.abc import Mapping

import torch

from faeval.core.adamw import adamw_


class AdamW:
    """First and second moments of named parameters, and the number of steps taken."""

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], weight_decay: float) -> None:
        self.parameters = dict(parameters)
        self.weight_decay = weight_decay
        self.moments = {
            f"{moment}.{name}": torch.zeros_like(p)
            for moment in ("exp_avg", "exp_avg_sq")
            for name, p in self.parameters.items()
        }
        device = next((p.device for p in self.parameters.values()), None)
        self.steps = torch.zeros((), device=device)

    def zero_grad(self) -> None:
        """Drop every gradient."""
        for p in self.parameters.values():
            p.grad = None

    def step(self, learning_rate: float) -> None:
        """One update along the gradients; a parameter without one stays as it is."""
        self.steps += 1
        taught = {name: p for name, p in self.parameters.items() if p.grad is not None}
        if not taught:  # frozen blocks between a stem and a head without parameters
            return
        adamw_(
            list(taught.values()),
            [p.grad for p in taught.values() if p.grad is not None],
            [self.moments[f"exp_avg.{name}"] for name in taught],
            [self.moments[f"exp_avg_sq.{name}"] for name in taught],
            self.steps,
            learning_rate=learning_rate,
            weight_decay=self.weight_decay,
        )
