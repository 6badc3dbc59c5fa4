"""A control: the head alone learns, on the features of an untrained network."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule


@RULES.register("shallow")
@dataclass(frozen=True)
class Shallow(Rule):
    """a_l = 0 at every state. Stem and blocks keep their initial weights to the bit, for
    nothing leads back to them: no penalty and no weight decay moves them either.

    What a method must beat for its credit to be worth anything. (Running statistics, where a
    network has them, follow the data as in every rule.) Its cosines are undefined.
    """

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=False,
            transports_weights="nothing",
            granularity="block",
            equals_bp="the gradient is zero",
            feedback="none",
            teaches="head",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        return {}

    def run(self, model: Staged, feedback: Feedback, x: Tensor, y: Tensor) -> Trace:
        trace = model.run(x, y, local=True)
        return replace(
            trace,
            states=tuple(h.detach() for h in trace.states),
            branches=tuple(f.detach() for f in trace.branches),
        )

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return [torch.zeros_like(h) for h in trace.states]
