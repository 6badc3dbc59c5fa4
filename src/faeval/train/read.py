"""Read a trained network: the rule's credits against the reference, at every state."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from faeval.core.random import generator
from faeval.core.reading import Diagnostic, PrecisionReading, ProbeReading, Reading
from faeval.core.trace import Trace
from faeval.data import Batches
from faeval.measurement.alignment import norm
from faeval.measurement.functional import Tail
from faeval.measurement.gathering import AtState, gather
from faeval.measurement.reading import number, read_precision, read_probes
from faeval.measurement.reference import Reference, double, reading_copy, reference
from faeval.models import Staged
from faeval.models.staged import losses
from faeval.rules import Feedback, Rule
from faeval.train.credits import credit_of, run_and_credit
from faeval.train.fresh import NULL_DRAWS, NULL_IMAGES, drawn_nulls, fresh_feedback
from faeval.train.step import CreditAt
from faeval.train.updates import updates

HALF_PRECISIONS = (torch.bfloat16, torch.float16)
PROBE_DIRECTIONS = 8
NORM_IMAGES = 128
DIAGNOSED = 128
CHUNK = 128  # samples at a time: more are no faster, and take more memory


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
    seed: int = 0,
    null_draws: int = NULL_DRAWS,
) -> list[Reading]:
    """One reading per state h_0 … h_L, on the batch x (N, …), y (N,), in evaluation mode and
    with the feedback given (that of training). Works on copies: the model stays as it was.

    The batch is read a few samples at a time, of which only numbers are kept: no sample's credit
    may depend on the others. The first `probe_images` meet the costlier probes; 0 leaves them
    out. `seed` names the one fresh draw of feedback that is read beside the null; `null_draws` is
    how many make up a null that has no closed form.
    """
    exact = _from_first_state(model).double()
    ours = _from_first_state(model)
    closed_form = rule.claims.gaussian_in is not None
    fresh = fresh_feedback(rule, ours, feedback, "fresh feedback", seed) if closed_form else {}
    states = [
        AtState(len(x), generator(0, "direction"), closed_form=closed_form)
        for _ in model.state_shapes
    ]

    def add(x: Tensor, y: Tensor) -> None:
        g = _at_states(exact.run(x, y, local=False))
        whole = ours.run(x, y, local=False)
        # A rule that runs the network as it is finds all that it needs in the very same pass.
        trace = whole if type(rule).run is Rule.run else rule.run(ours, feedback, x, y)
        credits = credit_of(rule, trace, feedback, credit_at)
        working = _at_states(whole)
        source = trace.target if rule.claims.gaussian_in == "target" else trace.error
        gather(
            states,
            h=[state.detach() for state in whole.states],
            credits=credits,
            exact=g,
            working=working,
            source=source if closed_form else None,
            fresh=credit_of(rule, trace, fresh, credit_at) if closed_form else None,
        )

    for some, labels in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
        add(some, labels)
    if closed_form or rule.claims.exact:
        nulls = [at.null() for at in states]
    else:
        few = slice(0, NULL_IMAGES)
        g = _at_states(exact.run(x[few], y[few], local=False))
        nulls = drawn_nulls(
            ours,
            rule,
            feedback,
            x[few],
            y[few],
            g,
            credit_at=credit_at,
            seed=seed,
            count=null_draws,
        )
    readings = [at.reading(l, null) for l, (at, null) in enumerate(zip(states, nulls, strict=True))]
    if not probe_images:
        return readings
    few = slice(0, probe_images)
    return _probed(readings, model, rule, feedback, x[few], y[few], credit_at)


def diagnose(
    model: Staged, rule: Rule, feedback: Feedback, x: Tensor, y: Tensor
) -> list[Diagnostic]:
    """What the rule says of its own working on the first 128 samples, in evaluation mode and with
    the feedback given: on its own run, before any credit is moved to another state."""
    few = slice(0, DIAGNOSED)
    ours = cast(Staged, reading_copy(model))
    return rule.diagnostics(ours, rule.run(ours, feedback, x[few], y[few]), feedback)


def initial_norms(untrained: Staged, x: Tensor, y: Tensor) -> list[float | None]:
    """Mean ‖h_l‖ over the first 128 samples at every state of a network that has not trained;
    None where it is not finite. So few tell it to a few %, for next to nothing.

    In evaluation mode, but BatchNorm goes by these samples: the statistics that it keeps are
    placeholders (mean 0, variance 1) until it has trained, with which it would normalise nothing,
    and any network would seem to have outgrown its own start.
    """
    few = slice(0, NORM_IMAGES)
    copy = _evaluating(untrained)
    for module in copy.modules():
        if isinstance(module, _BatchNorm):
            module.train()
    return [number(norm(h).mean().item()) for h in copy.run(x[few], y[few], local=True).states]


def _forward(module: nn.Module, x: Tensor, y: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    trace = cast(Staged, module).run(x, y, local=False)
    return trace.states, trace.loss


def _evaluating(model: Staged) -> Staged:
    """A copy in evaluation mode, without gradients, that reads the parameters of the model
    itself."""
    shared = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()}
    return deepcopy(model, shared).eval()


def _from_first_state(model: Staged) -> Staged:
    """Such a copy whose graph begins at h_0: nothing is kept for the gradients of parameters and
    inputs, which nobody asks for. Made one in float64, it has its own and takes x as it is."""
    copy = _evaluating(model)

    def widened(stem: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        wide = any(p.dtype == torch.float64 for p in copy.parameters())
        return tuple(double(x) for x in inputs) if wide else inputs

    copy.stem.register_forward_pre_hook(widened)
    copy.stem.register_forward_hook(lambda _, __, h: h.detach().requires_grad_())
    return copy


def _at_states(trace: Trace) -> tuple[Tensor, ...]:
    """∂ℓ_n/∂h_l at every state of a trace with graph."""
    return torch.autograd.grad(trace.loss.sum(), trace.states)


def _probed(
    readings: Sequence[Reading],
    model: Staged,
    rule: Rule,
    feedback: Feedback,
    x: Tensor,
    y: Tensor,
    credit_at: CreditAt,
) -> list[Reading]:
    """The readings with what is taken on few images: updates, half precisions, probes."""
    ours = cast(Staged, reading_copy(model))
    _, credits = run_and_credit(rule, ours, feedback, x, y, credit_at)
    ref = reference(_forward, model, x, y, autocast=HALF_PRECISIONS)
    taught = updates(model, rule, feedback, x, y, credit_at)
    return [
        replace(
            reading,
            update_cosine=update.cosine,
            update_error=update.error,
            precisions=(*reading.precisions, *_half_precisions(ref, l, credits[l])),
            probes=probes,
        )
        for l, (reading, update, probes) in enumerate(
            zip(readings, taught, _probes(model, credits, ref, y), strict=True)
        )
    ]


def _half_precisions(ref: Reference, state: int, credit: Tensor) -> list[PrecisionReading]:
    return [
        read_precision(credit, ref.exact[state], at_states[state], under_autocast=dtype)
        for dtype, at_states in ref.autocast.items()
    ]


def _probes(
    model: Staged, credits: Sequence[Tensor], ref: Reference, y: Tensor
) -> list[ProbeReading]:
    exact_model = cast(Staged, reading_copy(model).double())
    draw = generator(0, "probes")

    def tail(state: int) -> Tail:
        return lambda h: losses(exact_model.resume(state, h), y)

    return [
        read_probes(
            tail(state),
            ref.states[state],
            credit,
            ref.exact[state],
            generator=draw,
            directions=PROBE_DIRECTIONS,
        )
        for state, credit in enumerate(credits)
    ]
