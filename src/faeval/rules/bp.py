"""Backpropagation, the yardstick."""

from dataclasses import dataclass

import torch
from torch import Tensor

from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule, backward_credit


@RULES.register("bp")
@dataclass(frozen=True)
class BP(Rule):
    """a_l = g_l = ∂ℓ_n/∂h_l, shape of h_l, per sample (Rumelhart, Hinton & Williams 1986).

    Needs a trace with graph, which it leaves intact; raises RuntimeError on a local one.
    """

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="all",
            granularity="none",
            equals_bp="always",
            end_to_end=True,
            exact=True,
            feedback="none",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        return {}

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return backward_credit(trace)
