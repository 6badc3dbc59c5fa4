"""Read a trained state: the rule's credits against the reference, at every state."""

from typing import cast

import torch
from torch import Tensor, nn

from faeval.core.random import generator
from faeval.core.reading import Reading
from faeval.data import Batches
from faeval.measure.reading import read_state
from faeval.measure.reference import reference
from faeval.models import Staged
from faeval.rules import Feedback, Rule
from faeval.train.step import CreditAt, read_credits, run


def reading_batch(batches: Batches, images: int) -> tuple[Tensor, Tensor]:
    """The same random samples for every trial on a data set: at most `images` of them."""
    order = torch.randperm(len(batches), generator=generator(0, "reading"))
    return batches.take(order[:images])


def read(
    model: Staged, rule: Rule, feedback: Feedback, x: Tensor, y: Tensor, credit_at: CreditAt
) -> list[Reading]:
    """One reading per state h_0 … h_L, on the batch x (N, …), y (N,), in evaluation mode and
    with the feedback given (that of training). Leaves the model as it was."""
    ref = reference(_forward, model, x, y)
    training = model.training
    model.eval()
    try:
        trace = run(model, rule, x, y)
        credits = read_credits(rule.credit(trace, feedback), credit_at)
    finally:
        model.train(training)
    return [
        read_state(
            state,
            h=ref.states[state],
            credit=credit,
            exact=ref.exact[state],
            working=ref.working[state],
            mean_loss=ref.mean_loss[state],
            gaussian_in=trace.error if rule.claims.gaussian_in_error else None,
        )
        for state, credit in enumerate(credits)
    ]


def _forward(module: nn.Module, x: Tensor, y: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    trace = cast(Staged, module).run(x, y, local=False)
    return trace.states, trace.loss
