"""`faeval.measure`: the measurement of any module."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from faeval.core import random
from faeval.core.errors import InputError
from faeval.core.reading import NullReading, ProbeReading, Reading
from faeval.core.spec import from_validation
from faeval.measurement.functional import Tail
from faeval.measurement.reading import (
    read_direction,
    read_precision,
    read_probes,
    read_state,
    sampled,
)
from faeval.measurement.reference import double, reading_copy
from faeval.probe.credits import Credits, Redrawn, check_finite, own_backward, read_credits
from faeval.probe.guard import duplicate, undisturbed
from faeval.probe.measured import Measured, judged, seeds
from faeval.probe.nulls import NullOption, drawn_nulls, gaussian_nulls
from faeval.probe.states import Loss, Tap, cross_entropy
from faeval.probe.truth import Truth, find_truth
from faeval.verdict.method import Thresholds

PROBE_SAMPLES = 128
PROBE_DIRECTIONS = 8


def measure(
    module: nn.Module,
    *,
    states: Sequence[str],
    batch: tuple[Tensor, Tensor],
    credits: Credits,
    loss: Loss = cross_entropy,
    twin: nn.Module | None = None,
    null: NullOption = None,
    draws: int = 200,
    probes: bool | int = False,
    precisions: Sequence[torch.dtype] = (),
    direction: bool = True,
    accuracy: float | Sequence[float] | None = None,
    control: float | Sequence[float] | None = None,
    name: str | None = None,
    generator: torch.Generator | None = None,
    thresholds: Thresholds | Mapping[str, float] | None = None,
) -> Measured:
    """Compare credits a_l with the gradients g_l = ∂ℓ_n/∂h_l of any module, and judge.

        cos_n = ⟨a_ln, g_ln⟩ / (‖a_ln‖ ‖g_ln‖),   l = 0 … L,  n = 1 … N,

    in evaluation mode, per sample and without 1/N. The module is left as it was, also by an
    exception: weights, gradients, buffers, modes, hooks, global random state.

    Args:
        module: maps x (N, …) to one floating tensor (N, …); a sample's output must not depend
            on other samples in evaluation mode.
        states: names of the submodules whose outputs are h_0 … h_L (N, …), in order of the
            forward pass. Where there is a residual path, name what comes after the sum.
        batch: x (N, …) and y (N, …), on the module's device.
        credits: tensors shaped like the states (a sequence, or a dictionary by name); or a
            function of the `Trace` that returns such; or "backward": what the module's own
            backward hands back to each state, for libraries that replace autograd by layers of
            their own or by hooks. A trace has no branches; `trace.logits` is the output and
            `trace.error` = ∂ℓ_n/∂output, for cross-entropy softmax − onehot.
        loss: (output, y) → ℓ_n (N,).
        twin: a plain module with the same submodule names and function, whose autograd gives
            the reference. Needed where the module's own backward is not its derivative. With
            "backward" and no twin the reference comes from central differences in float64,
            which cost 2 · Σ_l D_l forward passes of N samples (D_l elements in a state of one
            sample): use few samples and small states, or write the twin. Whatever the source,
            it is checked against the losses along random directions and its error told.
        null: chance level of the mean cosine under fresh feedback. "gaussian": the credit is
            a_l = B_l e with i.i.d. Gaussian B_l and e = `trace.error` (closed form; refused where
            N > C samples show that the credit is not linear in e). Tensors s_l
            (N, C) in a sequence or by name, None where there is none: the same with a_l = B_l s_l.
            A function draws `draws` times, exact ranks: `fresh(trace, generator)` → credits, or
            for "backward" `fresh(copy, generator)`, which redraws the feedback of a copy of the
            module in place; its backward is then run again. None: unmeasured.
        probes: perturbation correlation and nudge on that many samples (True: 128), moving each
            state; needs a module (or twin) whose layers have a forward derivative.
        precisions: autocast dtypes whose mean-loss gradients are compared with float64.
        direction: whether batch-mean gradients of disjoint batches agree (N ≥ 16).
        accuracy, control: accuracies in [0, 1], one or one per seed, of the trained module and
            of its twin with frozen blocks. Without both, depth utility is unmeasured and the
            verdict at most caution.
        name: what the table calls it (default: the class).
        generator: of all random numbers; the default gives the same ones each time.
        thresholds: of the checks, or a dictionary of those that differ from the defaults.

    Returns:
        Measured.

    Raises:
        InputError: unknown, uncalled or misordered states; wrong shapes; a loss that is not
            (N,); credits or null of another form; a twin that computes something else; samples
            that depend on each other; a backward that does not reach a state; credits that are
            not finite where the pass is, or that the closed form of `null` is not made for.
    """
    backward = isinstance(credits, str) and credits == "backward"
    samples = _probe_samples(probes)
    if backward and twin is None and (samples or precisions):
        raise InputError(
            "a twin wherever probes or precisions are asked for",
            'credits="backward" alone',
            "give a plain module of the same function as twin=",
        )
    _check_module("a module", module)
    if twin is not None:
        _check_module("a twin", twin)
    limits, runs = _thresholds(thresholds), seeds(accuracy, control)
    seed = 0 if generator is None else _seed(generator)
    with undisturbed(module, *() if twin is None else (twin,)):
        x, y = _batch(batch)
        # A module that draws in its forward pass reads alike every time.
        torch.default_generator.manual_seed(seed)
        tap = Tap(_names(states), loss)
        for given in (module, twin):
            if given is not None:
                tap.check(given)
        if backward:
            trace, values = own_backward(tap, module, x, y)
        else:
            trace = tap.trace(reading_copy(duplicate(module)), x, y)
            values = read_credits(credits, trace, tap.names)
            check_finite(values, trace, tap.names)
        truth = find_truth(
            tap, module, twin, x, y,
            trusted=not backward, autocast=precisions, generator=random.generator(seed, "truth"),
        )  # fmt: skip
        exact = truth.gradients.exact
        nulls: Sequence[NullReading | None] = [None] * len(values)
        if callable(null):
            draw = random.generator(seed, "null")
            again = (
                Redrawn(tap, module, x, y, null, draw, values)
                if backward
                else lambda: read_credits(null(trace, draw), trace, tap.names)
            )
            nulls = drawn_nulls(again, draws, values, exact)
        elif null is not None:
            nulls = gaussian_nulls(null, trace, tap.names, values, exact)
        readings = [
            _read(l, values[l], truth, nulls[l], precisions, direction, seed)
            for l in range(len(values))
        ]
        if samples:
            moved = _probes(tap, truth, values, x[:samples], y[:samples], seed)
            readings = [replace(r, probes=p) for r, p in zip(readings, moved, strict=True)]
    return judged(
        name or type(module).__name__, tap.names, readings, truth, runs,
        limits, _divergence(tap, truth),
    )  # fmt: skip


def _read(
    l: int,
    credit: Tensor,
    truth: Truth,
    null: NullReading | None,
    precisions: Sequence[torch.dtype],
    direction: bool,
    seed: int,
) -> Reading:
    ref = truth.gradients
    exact = ref.exact[l]
    samples = sampled(
        h=ref.states[l], credit=credit, exact=exact, working=ref.working[l], batch=len(exact)
    )
    reading = read_state(
        l,
        samples,
        precisions=[
            read_precision(credit, exact, ref.autocast[dtype][l], under_autocast=dtype)
            for dtype in precisions
        ],
        null=null,
        direction=read_direction(exact, random.generator(seed, f"direction {l}"))
        if direction
        else None,
    )
    if truth.source == "finite differences":
        # There is no gradient in the working precision: the error is that of the differences.
        return replace(reading, reference_relative_error=truth.errors[l], precisions=())
    return reading


def _probes(
    tap: Tap, truth: Truth, credits: Sequence[Tensor], x: Tensor, y: Tensor, seed: int
) -> list[ProbeReading]:
    inputs = double(x)

    def tail(l: int) -> Tail:
        def losses(h: Tensor) -> Tensor:
            _, output = tap.states(truth.exact, inputs, {l: lambda _: h})
            return tap.losses(output, y)

        return losses

    ref, few, draw = truth.gradients, slice(0, len(x)), random.generator(seed, "probes")
    return [
        read_probes(
            tail(l), ref.states[l][few], credit[few], ref.exact[l][few],
            generator=draw, directions=PROBE_DIRECTIONS,
        )
        for l, credit in enumerate(credits)
    ]  # fmt: skip


def _divergence(tap: Tap, truth: Truth) -> str | None:
    """The first state that is finite in no sample."""
    for name, h in zip(tap.names, truth.gradients.states, strict=True):
        if not h.flatten(1).isfinite().all(dim=1).any():
            return f"no finite sample at {name!r}"
    return None


def _probe_samples(probes: bool | int) -> int:
    count = PROBE_SAMPLES if probes is True else int(probes)
    if count < 0:
        raise InputError("a number of samples for the probes, 0 for none", str(count), "raise it")
    return count


def _names(states: Sequence[str]) -> tuple[str, ...]:
    if isinstance(states, str):
        raise InputError("a sequence of names", repr(states), f"write states=[{states!r}]")
    return tuple(states)


def _batch(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    ok = isinstance(batch, Sequence) and len(batch) == 2 and all(
        isinstance(t, Tensor) and t.ndim for t in batch
    )  # fmt: skip
    if not ok or not len(batch[0]) or len(batch[0]) != len(batch[1]):
        raise InputError(
            "a batch (x, y) of two tensors with at least one sample, as many in both",
            _told(batch),
            "pass for example batch=next(iter(loader))",
        )
    # Also out of inference mode, where autograd could not keep them.
    return batch[0].detach().clone(), batch[1].detach().clone()


def _told(batch: object) -> str:
    """What came in place of a pair, in a few words."""
    if isinstance(batch, Tensor):
        return f"one tensor of shape {tuple(batch.shape)}"
    if not isinstance(batch, list | tuple):
        return type(batch).__name__
    parts = [str(tuple(t.shape)) if isinstance(t, Tensor) else type(t).__name__ for t in batch[:3]]
    more = f" … ({len(batch)} in all)" if len(batch) > 3 else ""
    return f"{type(batch).__name__} of {', '.join(parts) or 'nothing'}{more}"


def _check_module(what: str, module: object) -> None:
    if not isinstance(module, nn.Module):
        a = "the class " + module.__name__ if isinstance(module, type) else type(module).__name__
        raise InputError(f"{what} that is an nn.Module", a, "pass the network itself, an instance")


def _thresholds(given: Thresholds | Mapping[str, float] | None) -> Thresholds:
    if isinstance(given, Thresholds):
        return given
    try:
        return Thresholds.model_validate({} if given is None else given)
    except ValidationError as error:
        raise from_validation(error, "Thresholds") from None


def _seed(generator: torch.Generator) -> int:
    device = generator.device
    return int(torch.randint(2**62, (), generator=generator, device=device))
