"""Feedback alignment from block to block (Lillicrap et al. 2016, 10.1038/ncomms13276)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule, terminal_gradient
from faeval.rules.direct import delivered, gaussian, rows
from faeval.rules.positions import Tokens, by_position, layout, like_state


@RULES.register("fa")
@dataclass(frozen=True)
class FA(Rule):
    """a_l = B_l a_{l+1} with fixed B_l ∈ R^{d_l×d_{l+1}}, entries N(0, scale²/d_{l+1}).

    start   "gradient": a_L = g_L, exact through the head, as in the published runs; its cosine
            is 1 by construction and no evidence. "error": a_L = B_L e_T, entries
            N(0, scale²/C), as in `dfa`
    tokens  for states of P positions with d features, A_l ∈ R^{P_l×d_l}. "each" (default):
            A_l = M_l A_{l+1} B_lᵀ with a random M_l ∈ R^{P_l×P_{l+1}} as well, entries
            N(0, 1/P_{l+1}): no two positions get the same credit, where a dense matrix would
            have (P d)² entries. "broadcast": every position gets v_l = B_l v_{l+1}, from
            v_L = Σ_p A_L[p]/√P_L, or B_L e_T. Either way a class token's credit reaches every
            token below, and no credit stays local: only `fa_layer` is made of convolutions.
            With P = 1 there is no M_l

    a_l has the shape of h_l; d_l is the number of its features (channels). In expectation
    ‖a_l‖²/(P_l d_l) is the same at every l: no state's credit grows or fades with depth.
    Inside a block the exact transposes are used; `fa_layer` replaces those. `init` raises
    InputError for a model whose states are not vectors, tokens or channels.
    """

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    start: Literal["gradient", "error"] = "gradient"
    tokens: Tokens = "each"

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="head" if self.start == "gradient" else "nothing",
            granularity="block",
            equals_bp="B_l is the transposed Jacobian of block l, the same for every sample",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        normal, mixing = gaussian(self.scale, generator), gaussian(1.0, generator)
        feedback: Feedback = {}
        layouts = [layout(shape) for shape in model.state_shapes]
        for l, ((p, d), (above_p, above_d)) in enumerate(pairwise(layouts)):
            feedback[f"B{l}"] = normal(d, above_d)
            if max(p, above_p) > 1 and self.tokens == "each":
                feedback[f"M{l}"] = mixing(p, above_p)
        if self.start == "error":
            last = rows(model.state_shapes[-1], self.tokens)
            feedback[f"B{len(layouts) - 1}"] = normal(last, model.classes)
        return feedback

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        *below, last = trace.states
        if self.start == "gradient":
            a = terminal_gradient(trace)
        else:
            a = delivered(trace.error, feedback[f"B{len(below)}"], last.shape, self.tokens)
        credits, above = [a], by_position(a)
        if self.tokens == "broadcast" and self.start == "gradient":
            above = above.sum(1, keepdim=True) / above.shape[1] ** 0.5
        elif self.tokens == "broadcast":
            above = above[:, :1]
        for l in reversed(range(len(below))):
            if f"M{l}" in feedback:
                above = feedback[f"M{l}"] @ above
            above = above @ feedback[f"B{l}"].T
            credits.insert(0, like_state(above, below[l].shape))
        return credits
