"""The rule with feedback that the network has never met: one draw, and the null of many."""

from collections.abc import Sequence

import torch
from torch import Tensor

from faeval.core.random import generator
from faeval.core.reading import NullReading
from faeval.measurement.alignment import Rows, prepared
from faeval.measurement.reading import mean_cosine, read_drawn_null
from faeval.models import Staged
from faeval.rules import Feedback, Rule
from faeval.train.credits import credit_of, run_and_credit
from faeval.train.step import CreditAt

NULL_DRAWS = 100
# The spread over feedback is that of these images: fewer make it wider, never too narrow.
NULL_IMAGES = 256


def fresh_feedback(
    rule: Rule, model: Staged, feedback: Feedback, stream: str, seed: int = 0
) -> Feedback:
    """Another draw of the rule's feedback, where and as precise as the one given."""
    drawn = rule.fresh(model, generator(seed, stream))
    return {name: b.to(feedback[name]) for name, b in drawn.items()}


def drawn_nulls(
    model: Staged,
    rule: Rule,
    feedback: Feedback,
    x: Tensor,
    y: Tensor,
    exact: Sequence[Tensor],
    *,
    credit_at: CreditAt,
    seed: int,
    count: int = NULL_DRAWS,
) -> list[NullReading | None]:
    """For each state, the batch-mean cosine among those of `count` draws of feedback, all on
    the same images; `exact` are the reference gradients there. None without feedback to draw, or
    without draws.

    Where fresh feedback changes the backward pass alone, that is run again for each draw; else
    only the credits are computed anew.
    """
    if not feedback or not count:
        return [None] * len(exact)
    references: list[Rows] = [prepared(g) for g in exact]
    trace, credits = run_and_credit(rule, model, feedback, x, y, credit_at)

    def cosines(stream: str, seed: int = 0) -> list[float]:
        drawn = fresh_feedback(rule, model, feedback, stream, seed)
        # Replaced transposes are part of the trace's own graph.
        again = rule.run(model, drawn, x, y) if rule.claims.end_to_end else trace
        offered = credit_of(rule, again, drawn, credit_at)
        return [mean_cosine(a, g) for a, g in zip(offered, references, strict=True)]

    draws = torch.tensor([cosines(f"fresh {i}") for i in range(count)], dtype=torch.float64)
    one_more = cosines("fresh feedback", seed)
    return [
        read_drawn_null(credit, g, of_state, fresh)
        for credit, g, of_state, fresh in zip(credits, references, draws.T, one_more, strict=True)
    ]
