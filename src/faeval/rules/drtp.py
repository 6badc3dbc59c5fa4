"""Direct random target projection (Frenkel, Lefebvre & Bol 2021, 10.3389/fnins.2021.629892)."""

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


@RULES.register("drtp")
@dataclass(frozen=True)
class DRTP(Rule):
    """a_l = −y B_lᵀ with the target y instead of the error; B_l ∈ R^{d_l×C} as in `dfa`,
    entries N(0, scale²/C).

    y is onehot(label), or a real target, (N, C). e_T is softmax(logits) − y, or logits − y:
    −y is the part of it that is known before the forward pass, and has its sign at the true
    class, the only negative one. So a_l needs no output, and the states no error. The head
    learns from e_T as in every rule. a_l has the shape of h_l; `tokens` as in `dfa`.
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
            gaussian_in="target" if self.tokens == "each" else None,
            equals_bp="the outputs are zero, as real ones may be, and B_l is as `dfa` needs it",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        return one_per_state(model, self.tokens, gaussian(self.scale, generator))

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return to_states(-trace.target, feedback, trace, self.tokens)
