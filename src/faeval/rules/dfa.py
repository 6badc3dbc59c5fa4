"""Direct feedback alignment (Nøkland 2016, arXiv 1609.01596, eq. 7)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule
from faeval.rules.direct import gaussian, one_per_state, to_states
from faeval.rules.positions import Tokens


@RULES.register("dfa")
@dataclass(frozen=True)
class DFA(Rule):
    """a_l = e_T B_lᵀ with fixed B_l ∈ R^{d_l×C}, one per state, entries N(0, scale²/C).

    e_T is (N, C), a_l has the shape of h_l. Inside a block the exact transposes are used;
    `dfa_layer` replaces those.

    tokens  for states of tokens (T, d) or channels (C', H, W). "each" (default): B_l has a row
            for every element, as published for feature maps; positions can learn different
            things, and the closed-form null holds. "broadcast": a row for every feature, and
            every position receives the same credit; B_l is P times smaller. `init` then
            raises InputError for a model whose states have another shape
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
            # Rows that positions share are not independent.
            gaussian_in="error" if self.tokens == "each" else None,
            equals_bp="B_l is the transposed Jacobian of the logits with respect to h_l",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        return one_per_state(model, self.tokens, gaussian(self.scale, generator))

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return to_states(trace.error, feedback, trace, self.tokens)
