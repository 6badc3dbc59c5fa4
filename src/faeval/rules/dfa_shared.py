"""Direct feedback alignment with one matrix for all states (Launay et al. 2019, 1906.04554)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule
from faeval.rules.direct import delivered, gaussian, rows
from faeval.rules.positions import Tokens


@RULES.register("dfa_shared")
@dataclass(frozen=True)
class DFAShared(Rule):
    """a_l = e_T B[:d_l]ᵀ: one B ∈ R^{d×C}, d the largest d_l, entries N(0, scale²/C), of which
    every state takes the first d_l rows.

    A cut changes no entry's variance, so nothing is scaled anew. States of equal size receive
    the same credit. Each state's null is that of `dfa`, but the states' nulls are not
    independent of each other. e_T is (N, C), a_l has the shape of h_l; `tokens` as in `dfa`.
    """

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    tokens: Tokens = "each"

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="nothing",
            direct=True,
            granularity="block",
            gaussian_in="error" if self.tokens == "each" else None,
            equals_bp="the logits' Jacobians at all h_l are equal, and B is their transpose",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        largest = max(rows(shape, self.tokens) for shape in model.state_shapes)
        return {"B": gaussian(self.scale, generator)(largest, model.classes)}

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return [
            delivered(
                trace.error, feedback["B"][: rows(h.shape[1:], self.tokens)], h.shape, self.tokens
            )
            for h in trace.states
        ]
