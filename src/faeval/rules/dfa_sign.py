"""Direct feedback alignment with feedback of one bit, +1 or −1 (after Nøkland 2016)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule
from faeval.rules.direct import one_per_state, to_states
from faeval.rules.positions import Tokens


@RULES.register("dfa_sign")
@dataclass(frozen=True)
class DFASign(Rule):
    """a_l = e_T B_lᵀ as in `dfa`, with entries ±1/√C of equal probability: the signs of a
    Gaussian matrix, with its variance.

    e_T is (N, C), a_l has the shape of h_l; `tokens` as in `dfa`.
    """

    tokens: Tokens = "each"

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="nothing",
            direct=True,
            granularity="block",
            equals_bp="the logits' Jacobian at h_l has entries ±1/√C and B_l is its transpose",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        def draw(rows: int, columns: int) -> Tensor:
            bits = torch.randint(2, (rows, columns), generator=generator)
            return (2.0 * bits - 1) / columns**0.5

        return one_per_state(model, self.tokens, draw)

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return to_states(trace.error, feedback, trace, self.tokens)
