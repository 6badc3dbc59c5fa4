"""One state's reading, from tensors alone."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.core.reading import (
    DirectionReading,
    NullReading,
    PrecisionReading,
    ProbeReading,
    Reading,
)
from faeval.measurement.alignment import (
    Rows,
    Summary,
    clamped_cosine,
    cosine,
    norm,
    prepared,
    ratio,
    summary,
)
from faeval.measurement.direction import direction_stability
from faeval.measurement.functional import Tail, nudge, perturbation_correlation
from faeval.measurement.precision import compare
from faeval.stats import (
    Null,
    gaussian_feedback_null,
    monte_carlo_null,
    p_value,
    rank_p,
    student_t,
)


def read_state(
    state: int,
    *,
    h: Tensor,
    credit: Tensor,
    exact: Tensor,
    working: Tensor,
    precisions: Sequence[PrecisionReading] = (),
    update_cosine: float | None = None,
    null: NullReading | None = None,
    direction: DirectionReading | None = None,
    probes: ProbeReading | None = None,
) -> Reading:
    """Read the credit at state h_l (N, …) against its reference; see `Reading` for the fields.

    `exact` and `working` are those of `measurement.reference`; the gradient of the mean loss,
    which common practice reads, is `working`/N. A sample with a norm that is not finite makes
    that mean norm None: nothing is averaged around it.
    """
    a, reference = prepared(credit), prepared(exact)
    alignment = cosine(a, reference)
    cosines = summary(alignment.cosine)
    interval = student_t(alignment.defined, population="images") if cosines.count else None
    own = read_precision(a, reference, working)
    g, size = norm(reference), norm(h)
    return Reading(
        state=state,
        samples=len(h),
        undefined=alignment.undefined,
        zero=alignment.zero,
        non_finite=alignment.non_finite,
        cosine_mean=number(cosines.mean),
        cosine_std=number(cosines.std),
        cosine_low=interval and interval.low,
        cosine_high=interval and interval.high,
        cosine_quantiles=_quantiles(cosines),
        cosine_clamped=number(clamped_cosine(credit, working / len(h)).mean().item()),
        reference_norm=number(g.mean().item()),
        reference_norm_mean_loss=number(g.mean().item() / len(h)),
        credit_norm=number(norm(a).mean().item()),
        state_norm=number(size.mean().item()),
        credit_ratio=number(summary(ratio(a, reference)).median),
        sensitivity=number((g * size).mean().item()),
        reference_relative_error=own.relative_error,
        precisions=(own, *precisions),
        update_cosine=update_cosine,
        null=null,
        direction=direction,
        probes=probes,
    )


def read_precision(
    credit: Tensor | Rows,
    exact: Tensor | Rows,
    gradient: Tensor,
    under_autocast: torch.dtype | None = None,
) -> PrecisionReading:
    """The gradient in one precision, in the dtype it was computed in, against float64.

    `under_autocast` is the precision asked of autocast, which may leave a state in another
    one; `gradient` is then that of the mean loss.
    """
    reference = prepared(exact)
    if under_autocast is not None:
        reference = replace(reference, scale=reference.scale / len(gradient))
    p = compare(gradient, reference, credit)
    return PrecisionReading(
        dtype=p.dtype if under_autocast is None else str(under_autocast).removeprefix("torch."),
        samples=len(gradient),
        relative_error=number(p.relative_error_median),
        relative_error_p95=number(p.relative_error_p95),
        underflow=p.underflow,
        samples_lost=p.samples_lost,
        cosine=None if p.cosine_working is None else number(p.cosine_working),
        cosine_reference=None if p.cosine_reference is None else number(p.cosine_reference),
        conclusion_changes=p.conclusion_changes,
    )


def read_gaussian_null(credit: Tensor, exact: Tensor, source: Tensor) -> NullReading | None:
    """The closed-form null for a credit B s_n with i.i.d. Gaussian B and sources s_n (N, C),
    and where the observed mean lies in it; None if no sample has both directions."""
    observed = summary(cosine(credit, exact).cosine)
    try:
        null = gaussian_feedback_null(exact, source)
    except InputError:  # no sample has both directions
        return None
    return _null(null, p_value(observed.mean, null, alternative="greater"))


def read_drawn_null(credit: Tensor, exact: Tensor, draws: Tensor) -> NullReading | None:
    """The Monte-Carlo null from batch-mean cosines `draws` (M,) of fresh feedback, with an
    exact-rank p-value (at least 1/(M+1)); None if no sample has a cosine."""
    observed = summary(cosine(credit, exact).cosine)
    if not observed.count:
        return None
    return _null(monte_carlo_null(draws), rank_p(observed.mean, draws, alternative="greater"))


def read_direction(
    exact: Tensor, generator: torch.Generator, batches: int = 8
) -> DirectionReading | None:
    """Direction stability of the batch-mean gradient; None for fewer than 2·batches samples."""
    if len(exact) < 2 * batches:
        return None
    stability = direction_stability(exact, generator=generator, batches=batches)
    return DirectionReading(
        number(stability.mean), number(stability.coherence), batches, stability.batch_size
    )


def read_probes(
    tail: Tail,
    h: Tensor,
    credit: Tensor,
    exact: Tensor,
    *,
    generator: torch.Generator,
    directions: int,
    step: float = 1e-2,
) -> ProbeReading:
    """Perturbation correlation and nudge of the credit and of its controls, the true gradient
    and a random vector; `tail` maps states (N, …) in float64 to the losses (N,)."""
    random = torch.randn(h.shape, generator=generator, dtype=torch.float64).to(h.device)
    rho = perturbation_correlation(
        tail,
        h,
        {"credit": credit, "gradient": exact, "random": random},
        generator=generator,
        directions=directions,
        step=step,
    )
    return ProbeReading(
        rho=number(rho["credit"].exact),
        rho_finite=number(rho["credit"].finite),
        rho_gradient=number(rho["gradient"].finite),
        rho_random=number(rho["random"].finite),
        nudge=number(nudge(tail, h, credit, relative_step=step).change),
        nudge_gradient=number(nudge(tail, h, exact, relative_step=step).change),
        step=step,
        images=len(h),
        directions=directions,
    )


def number(value: float) -> float | None:
    """`value`, or None if it is not finite: the form in which records keep it."""
    return value if math.isfinite(value) else None


def _null(null: Null, p: float) -> NullReading:
    return NullReading(number(null.mean), number(null.std), number(p), null.method, null.draws)


def _quantiles(s: Summary) -> tuple[float, float, float, float, float] | None:
    return (s.q05, s.q25, s.median, s.q75, s.q95) if s.count else None
