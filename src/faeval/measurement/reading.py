"""One state's reading, from tensors alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from faeval.measurement.direction import BatchMeans
from faeval.measurement.functional import Tail, nudge, perturbation_correlation
from faeval.measurement.precision import Compared, compared, concluded
from faeval.stats import (
    FeedbackNull,
    Null,
    monte_carlo_null,
    p_value,
    rank_p,
    sources,
    student_t,
)

BATCHES = 8  # of the direction reading, as published


@dataclass(frozen=True, eq=False)
class Samples:
    """What is kept of each sample at a state, (N,) each; of chunks, `chunks.joined` makes one.

    zero_credit is a number: of those without a cosine, the ones that have a reference and whose
    credit is the zero vector. `clamped` is common practice, `compared` knows the cosines.
    """

    compared: Compared
    zero_credit: int
    clamped: Tensor
    reference_norm: Tensor
    credit_norm: Tensor
    state_norm: Tensor
    ratio: Tensor


def sampled(
    *, h: Tensor, credit: Tensor, exact: Tensor | Rows, working: Tensor, batch: int
) -> Samples:
    """Measure the credit at h_l (n, …) sample by sample, as part of a batch of `batch` samples.

    `exact` and `working` are those of `measurement.reference`; the gradient of the mean loss,
    which common practice reads, is `working`/batch.
    """
    a, g = prepared(credit), prepared(exact)
    return Samples(
        compared=compared(working, g, a),
        zero_credit=int(((a.length == 0) & (g.length > 0)).sum()),
        clamped=clamped_cosine(credit, working / batch),
        reference_norm=norm(g),
        credit_norm=norm(a),
        state_norm=norm(h),
        ratio=ratio(a, g),
    )


def read_state(
    state: int,
    samples: Samples,
    *,
    precisions: Sequence[PrecisionReading] = (),
    null: NullReading | None = None,
    direction: DirectionReading | None = None,
) -> Reading:
    """Read the credit at a state; see `Reading` for the fields.

    A sample with a norm that is not finite makes that mean norm None: nothing is averaged
    around it. What is not asked for here is left None.
    """
    alignment = samples.compared.with_reference
    assert alignment is not None
    cosines = summary(alignment.cosine)
    interval = student_t(alignment.defined, population="images") if cosines.count else None
    own = _precision(samples.compared, None)
    g, size = samples.reference_norm, samples.state_norm
    return Reading(
        state=state,
        samples=len(g),
        undefined=alignment.undefined,
        zero=alignment.zero,
        zero_credit=samples.zero_credit,
        non_finite=alignment.non_finite,
        cosine_mean=number(cosines.mean),
        cosine_std=number(cosines.std),
        cosine_low=interval and interval.low,
        cosine_high=interval and interval.high,
        cosine_quantiles=_quantiles(cosines),
        cosine_clamped=number(samples.clamped.mean().item()),
        reference_norm=number(g.mean().item()),
        reference_norm_mean_loss=number(g.mean().item() / len(g)),
        credit_norm=number(samples.credit_norm.mean().item()),
        state_norm=number(size.mean().item()),
        credit_ratio=number(summary(samples.ratio).median),
        sensitivity=number((g * size).mean().item()),
        reference_relative_error=own.relative_error,
        precisions=(own, *precisions),
        null=null,
        direction=direction,
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
    return _precision(compared(gradient, reference, credit), under_autocast)


def gaussian_null(
    null: FeedbackNull, observed: float, fresh: float | None = None
) -> NullReading | None:
    """The closed-form null, and where the observed batch-mean cosine and that of one fresh draw
    lie in it; None if no sample has both directions."""
    try:
        of = null.null()
    except InputError:
        return None
    return _null(
        of,
        observed,
        p_value(observed, of, alternative="greater"),
        images=null.samples,
        fresh=fresh,
        fresh_p=None if fresh is None else p_value(fresh, of, alternative="greater"),
    )


def read_gaussian_null(credit: Tensor, exact: Tensor, source: Tensor) -> NullReading | None:
    """The closed-form null for a credit B s_n with i.i.d. Gaussian B and sources s_n (N, C),
    and where the observed mean lies in it; None if no sample has both directions."""
    g = prepared(exact)
    null = FeedbackNull(len(g.length))
    null.add(g.values, g.length, sources(source))
    return gaussian_null(null, mean_cosine(credit, g))


def read_drawn_null(
    credit: Tensor | Rows, exact: Tensor | Rows, draws: Tensor, fresh: float | None = None
) -> NullReading | None:
    """The Monte-Carlo null from batch-mean cosines `draws` (M,) of fresh feedback on the same
    samples, with exact-rank p-values (at least 1/(M+1)) of the observed mean and of one more
    draw, `fresh`; None if no sample has a cosine or a draw is not finite."""
    observed = mean_cosine(credit, exact)
    if not math.isfinite(observed) or not bool(draws.isfinite().all()):
        return None
    return _null(
        monte_carlo_null(draws),
        observed,
        rank_p(observed, draws, alternative="greater"),
        images=len(prepared(exact).length),
        fresh=fresh,
        fresh_p=None if fresh is None else rank_p(fresh, draws, alternative="greater"),
    )


def mean_cosine(credit: Tensor | Rows, exact: Tensor | Rows) -> float:
    """Mean of the cosines that exist; NaN without any."""
    return cosine(credit, exact).mean


def read_direction(
    exact: Tensor, generator: torch.Generator, batches: int = BATCHES
) -> DirectionReading | None:
    """Direction stability of the batch-mean gradient; None for fewer than 2·batches samples."""
    means = batch_means(len(exact), generator, batches)
    if means is None:
        return None
    means.add(prepared(exact))
    return direction_reading(means)


def batch_means(
    samples: int, generator: torch.Generator, batches: int = BATCHES
) -> BatchMeans | None:
    """Where a direction reading of that many samples is gathered; None for too few."""
    if samples < 2 * batches:
        return None
    return BatchMeans(samples, batches=batches, generator=generator)


def direction_reading(means: BatchMeans) -> DirectionReading:
    """What was gathered, as a reading."""
    s = means.stability()
    return DirectionReading(number(s.mean), number(s.coherence), s.batches, s.batch_size)


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
        rho_one_sided=number(rho["credit"].one_sided),
        rho_gradient=number(rho["gradient"].finite),
        rho_gradient_one_sided=number(rho["gradient"].one_sided),
        rho_random=number(rho["random"].finite),
        rho_random_one_sided=number(rho["random"].one_sided),
        nudge=number(nudge(tail, h, credit, relative_step=step).change),
        nudge_gradient=number(nudge(tail, h, exact, relative_step=step).change),
        step=step,
        images=len(h),
        directions=directions,
    )


def number(value: float) -> float | None:
    """`value`, or None if it is not finite: the form in which records keep it."""
    return float(value) if math.isfinite(value) else None


def _null(
    null: Null,
    observed: float,
    p: float,
    *,
    images: int,
    fresh: float | None,
    fresh_p: float | None,
) -> NullReading:
    return NullReading(
        mean=number(null.mean),
        std=number(null.std),
        p=number(p),
        method=null.method,
        draws=null.draws,
        images=images,
        observed=number(observed),
        fresh=None if fresh is None else number(fresh),
        fresh_p=None if fresh_p is None else number(fresh_p),
    )


def _precision(samples: Compared, under_autocast: torch.dtype | None) -> PrecisionReading:
    p = concluded(samples)
    return PrecisionReading(
        dtype=p.dtype if under_autocast is None else str(under_autocast).removeprefix("torch."),
        samples=len(samples.known),
        relative_error=number(p.relative_error_median),
        relative_error_p95=number(p.relative_error_p95),
        underflow=p.underflow,
        samples_lost=p.samples_lost,
        cosine=None if p.cosine_working is None else number(p.cosine_working),
        cosine_reference=None if p.cosine_reference is None else number(p.cosine_reference),
        conclusion_changes=p.conclusion_changes,
    )


def _quantiles(s: Summary) -> tuple[float, float, float, float, float] | None:
    return (s.q05, s.q25, s.median, s.q75, s.q95) if s.count else None
