"""One state's reading, from tensors alone."""

import math

from torch import Tensor

from faeval.core.reading import Reading
from faeval.measure.alignment import clamped_cosine, cosine, norm, summary
from faeval.measure.precision import compare
from faeval.stats.nulls import gaussian_feedback_null, p_value


def read_state(
    state: int,
    *,
    h: Tensor,
    credit: Tensor,
    exact: Tensor,
    working: Tensor,
    mean_loss: Tensor,
    gaussian_in: Tensor | None = None,
) -> Reading:
    """Read the credit at state h_l (N, …) against its reference; see `Reading` for the fields.

    `exact`, `working` and `mean_loss` are those of `measure.reference`. `gaussian_in` (N, C)
    is what the credit is linear in, if it is B_l times something with i.i.d. Gaussian B_l:
    then the closed-form null is part of the reading.
    """
    alignment = cosine(credit, exact)
    cosines = summary(alignment.cosine)
    precision = compare(working, exact)
    null = gaussian_feedback_null(exact, gaussian_in) if gaussian_in is not None else None
    reference_norm = norm(exact).mean().item()
    return Reading(
        state=state,
        samples=len(h),
        undefined=alignment.undefined,
        cosine_mean=_number(cosines.mean),
        cosine_std=_number(cosines.std),
        cosine_quantiles=(
            (cosines.q05, cosines.q25, cosines.median, cosines.q75, cosines.q95)
            if cosines.count
            else None
        ),
        cosine_clamped=_number(clamped_cosine(credit, mean_loss).mean().item()),
        reference_norm=_number(reference_norm),
        reference_norm_mean_loss=_number(reference_norm / len(h)),
        credit_norm=_number(norm(credit).mean().item()),
        state_norm=_number(norm(h).mean().item()),
        reference_relative_error=_number(precision.relative_error_median),
        reference_relative_error_p95=_number(precision.relative_error_p95),
        null_std=_number(null.std) if null else None,
        null_p=_number(p_value(cosines.mean, null)) if null else None,
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
