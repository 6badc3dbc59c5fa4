"""Direct feedback alignment with sparse feedback (Crafton et al. 2019, arXiv 1903.02083)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule
from faeval.rules.direct import one_per_state, to_states
from faeval.rules.positions import Tokens


@RULES.register("dfa_sparse")
@dataclass(frozen=True)
class DFASparse(Rule):
    """a_l = e_T B_lᵀ as in `dfa`, where an element of the state hears k of the C outputs only.

    density  k = density · C, rounded and at least 1. Every row of B_l has exactly k entries
             that are not zero, at places drawn uniformly, N(0, scale²/k): the expected
             ‖B_l e‖² is that of `dfa`. The default, one of ten outputs, is the paper's
             extreme of one error per unit where there are ten classes

    e_T is (N, C), a_l has the shape of h_l; `tokens` as in `dfa`.
    """

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    density: Annotated[float, Field(gt=0, le=1)] = 0.1
    tokens: Tokens = "each"

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="nothing",
            direct=True,
            granularity="block",
            equals_bp="density is 1 and B_l the transposed Jacobian of the logits at h_l",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        def draw(rows: int, columns: int) -> Tensor:
            k = max(1, round(self.density * columns))
            places = torch.rand(rows, columns, generator=generator).topk(k).indices
            entries = self.scale / k**0.5 * torch.randn(rows, k, generator=generator)
            return torch.zeros(rows, columns).scatter_(1, places, entries)

        return one_per_state(model, self.tokens, draw)

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return to_states(trace.error, feedback, trace, self.tokens)
