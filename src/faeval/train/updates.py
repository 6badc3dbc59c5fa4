"""What a rule teaches the parameters: against backpropagation, and against its own closed form."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from faeval.measurement.functional import update_alignment
from faeval.measurement.reading import number
from faeval.measurement.reference import double, reading_copy
from faeval.models import Staged
from faeval.rules import Feedback, Rule
from faeval.train.step import CreditAt, teach


@dataclass(frozen=True)
class Update:
    """What the stage that ends in one state is taught, without penalty.

    cosine  with what backpropagation would teach it; None where either is zero
    error   ‖u − u*‖ / max(‖u‖, ‖u*‖), 0 where both are zero: how far the update u that `teach`
            gives is from its closed form u*. None where it is not finite
    """

    cosine: float | None
    error: float | None


def updates(
    model: Staged, rule: Rule, feedback: Feedback, x: Tensor, y: Tensor, credit_at: CreditAt
) -> list[Update]:
    """The update of stem and blocks on the batch x (N, …), y, in evaluation mode, on copies.

    The closed form u* is autograd's derivative, in float64 and by another route than `teach`:

    - of a local rule with exact transposes inside its stages, ∇ mean_n ⟨h_ln, a_ln⟩ on a copy of
      each stage alone, whose input is the state before it: its credit, and nothing else, reaches
      its parameters;
    - of a rule with transposes of its own inside (granularity `layer`), the same on the rule's
      own run in float64, or, end to end, ∇ mean_n ℓ_n there. This shows that the float32 update
      is that of the rule as it is written; that it is written as published is for its tests.
    """
    taught, true = (cast(Staged, reading_copy(model)) for _ in range(2))
    trace = rule.run(taught, feedback, x, y)
    credits = None if rule.claims.end_to_end else rule.credit(trace, feedback)
    states = [h.detach() for h in trace.states]
    teach(trace, credits, credit_at=credit_at)
    teach(true.run(x, y, local=False), None)
    exact = cast(Staged, reading_copy(model).double())
    if credits is None or rule.claims.granularity == "layer":
        closed = _own_run(exact, rule, feedback, x, y, credit_at)
    else:
        closed = _stages_alone(exact, x, states, _used(credits, credit_at))
    return [
        _update(ours, theirs, twin)
        for ours, theirs, twin in zip(_stages(taught), _stages(true), closed, strict=True)
    ]


def _stages(model: Staged) -> list[nn.Module]:
    return [model.stem, *model.blocks]


def _used(credits: Sequence[Tensor], credit_at: CreditAt) -> list[Tensor]:
    """The credit that teaches the stage which ends in each state."""
    return list(credits) if credit_at == "output" else [credits[0], *credits[:-1]]


def _stages_alone(
    exact: Staged, x: Tensor, states: Sequence[Tensor], credits: Sequence[Tensor]
) -> list[list[Tensor]]:
    inputs = [double(x), *(h.double() for h in states[:-1])]
    residual = (False, *exact.residual)
    closed = []
    for stage, h, a, adds in zip(_stages(exact), inputs, credits, residual, strict=True):
        # The input needs its gradient, so that no stage takes a short cut of local teaching.
        h = h.requires_grad_(h.is_floating_point())
        out = h + stage(h) if adds else stage(h)
        closed.append(_derivative((out * a.double()).sum() / len(x), stage.parameters()))
    return closed


def _own_run(
    exact: Staged, rule: Rule, feedback: Feedback, x: Tensor, y: Tensor, credit_at: CreditAt
) -> list[list[Tensor]]:
    wide = {name: double(b) for name, b in feedback.items()}
    trace = rule.run(exact, wide, double(x), y)
    if rule.claims.end_to_end:
        total = trace.loss.mean()
    else:
        pairs = zip(trace.states, _used(rule.credit(trace, wide), credit_at), strict=True)
        total = torch.stack([(h * a).sum() for h, a in pairs]).sum() / len(x)
    parameters = [list(stage.parameters()) for stage in _stages(exact)]
    flat = iter(_derivative(total, (p for of_stage in parameters for p in of_stage)))
    return [[next(flat) for _ in of_stage] for of_stage in parameters]


def _derivative(total: Tensor, parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    wanted = list(parameters)
    if not wanted or not total.requires_grad:
        return [torch.zeros_like(p) for p in wanted]
    return list(torch.autograd.grad(total, wanted, materialize_grads=True))


def _update(taught: nn.Module, true: nn.Module, closed: Sequence[Tensor]) -> Update:
    ours, theirs = (
        [torch.zeros_like(p) if p.grad is None else p.grad for p in stage.parameters()]
        for stage in (taught, true)
    )
    if not ours:
        return Update(None, None)
    cosine = number(update_alignment(ours, theirs).cosine.item())
    u, twin = (torch.cat([t.double().flatten() for t in side]) for side in (ours, closed))
    size = torch.maximum(u.abs().max(), twin.abs().max())
    if size == 0:
        return Update(cosine, 0.0)
    u, twin = u / size, twin / size
    error = (u - twin).norm() / torch.maximum(u.norm(), twin.norm())
    return Update(cosine, number(error.item()))
