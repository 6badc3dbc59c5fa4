"""Direct feedback alignment (Nøkland 2016, arXiv 1609.01596, eq. 7)."""

from dataclasses import dataclass
from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule


@RULES.register("dfa")
@dataclass(frozen=True)
class DFA(Rule):
    """a_l = e_T B_lᵀ with fixed B_l ∈ R^{d_l×C}, one per state, entries N(0, scale²/C).

    e_T is (N, C), a_l has the shape of h_l; d_l is the number of elements of one
    sample's state. Block-local: inside a block the exact transposes are used.
    """

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="nothing",
            granularity="block",
            gaussian_in="error",
            equals_bp="B_l is the transposed Jacobian of the logits with respect to h_l",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        std = self.scale / model.classes**0.5
        return {
            f"B{l}": std * torch.randn(prod(shape), model.classes, generator=generator)
            for l, shape in enumerate(model.state_shapes)
        }

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return [(trace.error @ feedback[f"B{l}"].T).view_as(h) for l, h in enumerate(trace.states)]
