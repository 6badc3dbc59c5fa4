"""Read a trained network: the rule's credits against the reference, at every state."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from faeval.core.random import generator
from faeval.core.reading import NullReading, PrecisionReading, ProbeReading, Reading
from faeval.core.trace import Trace
from faeval.data import Batches
from faeval.measurement.alignment import cosine, prepared, summary
from faeval.measurement.functional import Tail, update_alignment
from faeval.measurement.reading import (
    number,
    read_direction,
    read_drawn_null,
    read_gaussian_null,
    read_precision,
    read_probes,
    read_state,
)
from faeval.measurement.reference import reading_copy, reference
from faeval.models import Staged
from faeval.models.staged import losses
from faeval.rules import Feedback, Rule
from faeval.train.step import CreditAt, read_credits, teach

HALF_PRECISIONS = (torch.bfloat16, torch.float16)
PROBE_DIRECTIONS = 8
NULL_DRAWS = 100


def reading_batch(batches: Batches, images: int) -> tuple[Tensor, Tensor]:
    """The same random samples for every trial on a data set: at most `images` of them."""
    order = torch.randperm(len(batches), generator=generator(0, "reading"))
    return batches.take(order[:images])


def read(
    model: Staged,
    rule: Rule,
    feedback: Feedback,
    x: Tensor,
    y: Tensor,
    *,
    credit_at: CreditAt = "output",
    probe_images: int = 128,
) -> list[Reading]:
    """One reading per state h_0 … h_L, on the batch x (N, …), y (N,), in evaluation mode and
    with the feedback given (that of training). Works on copies: the model stays as it was.

    The first `probe_images` of the batch meet the costlier probes; 0 leaves them out.
    """
    ref = reference(_forward, model, x, y)
    ours = cast(Staged, reading_copy(model))
    trace = rule.run(ours, feedback, x, y)
    credits = rule.credit(trace, feedback)
    if not rule.claims.end_to_end:
        credits = read_credits(credits, credit_at)
    updates: Sequence[float | None] = [None] * len(credits)
    probes: Sequence[ProbeReading | None] = [None] * len(credits)
    precisions: Sequence[tuple[PrecisionReading, ...]] = [()] * len(credits)
    if probe_images:
        few = slice(0, probe_images)
        some = [credit[few] for credit in credits]
        updates = _update_cosines(model, rule, feedback, x[few], y[few], credit_at)
        precisions = _half_precisions(model, some, x[few], y[few])
        probes = _probes(model, some, [g[few] for g in ref.exact], ref.states, y[few])
    nulls = _nulls(ours, rule, trace, credits, ref.exact, x, y, credit_at)
    return [
        read_state(
            state,
            h=ref.states[state],
            credit=credit,
            exact=ref.exact[state],
            working=ref.working[state],
            precisions=precisions[state],
            update_cosine=updates[state],
            null=nulls[state],
            direction=read_direction(ref.exact[state], generator(0, "direction")),
            probes=probes[state],
        )
        for state, credit in enumerate(credits)
    ]


def _forward(module: nn.Module, x: Tensor, y: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    trace = cast(Staged, module).run(x, y, local=False)
    return trace.states, trace.loss


def _nulls(
    model: Staged,
    rule: Rule,
    trace: Trace,
    credits: Sequence[Tensor],
    exact: Sequence[Tensor],
    x: Tensor,
    y: Tensor,
    credit_at: CreditAt,
) -> list[NullReading | None]:
    """What fresh feedback would read: in closed form where the rule allows it, else drawn; none
    for a rule whose credit is the gradient, or that has no feedback to draw."""
    if rule.claims.gaussian_in is not None:
        source = trace.error if rule.claims.gaussian_in == "error" else trace.target
        return [
            read_gaussian_null(credit, g, source) for credit, g in zip(credits, exact, strict=True)
        ]
    if rule.claims.exact or not rule.init(model, generator(0, "fresh 0")):
        return [None] * len(credits)
    prepared_exact = [prepared(g) for g in exact]
    draws = []
    for draw in range(NULL_DRAWS):
        fresh = rule.init(model, generator(0, f"fresh {draw}"))
        fresh = {name: b.to(trace.error.device) for name, b in fresh.items()}
        # Replaced transposes are part of the trace's own graph.
        again = rule.run(model, fresh, x, y) if rule.claims.end_to_end else trace
        offered = rule.credit(again, fresh)
        if not rule.claims.end_to_end:
            offered = read_credits(offered, credit_at)
        pairs = zip(offered, prepared_exact, strict=True)
        draws.append([summary(cosine(a, g).cosine).mean for a, g in pairs])
    by_state = torch.tensor(draws, dtype=torch.float64).T
    return [
        read_drawn_null(credit, g, drawn) if bool(drawn.isfinite().all()) else None
        for credit, g, drawn in zip(credits, exact, by_state, strict=True)
    ]


def _update_cosines(
    model: Staged, rule: Rule, feedback: Feedback, x: Tensor, y: Tensor, credit_at: CreditAt
) -> list[float | None]:
    """For the stage that ends in each state: the cosine of what the rule teaches it with what
    backpropagation would, without penalty."""
    taught, true = (cast(Staged, reading_copy(model)) for _ in range(2))
    trace = rule.run(taught, feedback, x, y)
    credits = None if rule.claims.end_to_end else rule.credit(trace, feedback)
    teach(trace, credits, credit_at=credit_at)
    teach(true.run(x, y, local=False), None)

    def stage_cosine(ours: nn.Module, theirs: nn.Module) -> float | None:
        pairs = [
            (p.grad, q.grad)
            for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)
            if p.grad is not None and q.grad is not None
        ]
        if not pairs:
            return None
        return number(update_alignment(*zip(*pairs, strict=True)).cosine.item())

    stages = zip([taught.stem, *taught.blocks], [true.stem, *true.blocks], strict=True)
    return [stage_cosine(ours, theirs) for ours, theirs in stages]


def _half_precisions(
    model: Staged, credits: Sequence[Tensor], x: Tensor, y: Tensor
) -> list[tuple[PrecisionReading, ...]]:
    ref = reference(_forward, model, x, y, autocast=HALF_PRECISIONS)
    return [
        tuple(
            read_precision(credit, ref.exact[state], gradients[state], under_autocast=dtype)
            for dtype, gradients in ref.autocast.items()
        )
        for state, credit in enumerate(credits)
    ]


def _probes(
    model: Staged,
    credits: Sequence[Tensor],
    exact: Sequence[Tensor],
    states: Sequence[Tensor],
    y: Tensor,
) -> list[ProbeReading]:
    exact_model = cast(Staged, reading_copy(model).double())
    draw = generator(0, "probes")

    def tail(state: int) -> Tail:
        return lambda h: losses(exact_model.resume(state, h), y)

    return [
        read_probes(
            tail(state),
            states[state][: len(y)],
            credit,
            exact[state],
            generator=draw,
            directions=PROBE_DIRECTIONS,
        )
        for state, credit in enumerate(credits)
    ]
