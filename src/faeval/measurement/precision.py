"""Is the working precision good enough for what is read from it?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.measurement.alignment import (
    Rows,
    cosine,
    norm,
    prepared,
    same_shape,
    samplewise,
    summary,
)

LOST_SHARE = 0.01  # more lost samples than this change the population that is spoken for


@dataclass(frozen=True)
class Precision:
    """A gradient in working precision against its float64 reference.

    relative_error_*: ‖w_n − g_n‖ / ‖g_n‖ over samples; NaN if there are none.
    underflow: elements that are 0 in w although |g_ni| > eps(dtype)·max_i |g_ni|: more
        than rounding of the largest element would hide.
    samples_lost: w_n is zero or not finite where g_n is neither.
    samples_undefined: g_n itself is zero or not finite; left out of everything else.
    cosine_working, cosine_reference: mean cosine of a credit with w and with g.
    conclusion_changes: see `compare`; None if no credit was given or nothing can be compared.
    """

    dtype: str
    relative_error_median: float
    relative_error_p95: float
    relative_error_max: float
    underflow: int
    samples_lost: int
    samples_undefined: int
    cosine_working: float | None
    cosine_reference: float | None
    conclusion_changes: bool | None


def compare(
    working: Tensor,
    reference: Tensor | Rows,
    credit: Tensor | Rows | None = None,
    *,
    tolerance: float = 0.01,
) -> Precision:
    """Compares w_n, the gradient of a working-precision run, with g_n, its float64 twin.

    A lost sample that is zero has relative error 1; one that is not finite has none and
    is only counted. The conclusion changes if the mean cosines of the credit with w and
    with g differ by more than `tolerance`, or more than 1 % of the samples are lost.

    Args:
        working: (N, …) in the floating dtype it was computed in.
        reference: (N, …) float64, the same samples.
        credit: (N, …) or None.
        tolerance: largest difference of mean cosines that changes no conclusion.

    Returns:
        Precision; everything in it is free of units.

    Raises:
        InputError: shapes differ, or `working` is not of a floating dtype.
    """
    for other in (reference, credit):
        if isinstance(other, Tensor):
            same_shape(working, other)
    if not working.is_floating_point():
        raise InputError("a floating dtype", str(working.dtype), "pass the gradient as computed")
    raw = samplewise(working)
    finite = raw.isfinite().all(dim=1)
    exact = prepared(reference)
    g, scale = exact.values, exact.scale
    known = g.any(dim=1) & scale.squeeze(1).isfinite()
    lost = int((known & ~(finite & raw.any(dim=1))).sum())

    size = g.abs()
    visible = size > torch.finfo(working.dtype).eps * size.amax(dim=1, keepdim=True)
    underflow = int((visible & (raw == 0) & known[:, None]).sum())
    # In the units of g the difference of two tiny vectors is exact; `norm` guards its squares.
    difference = raw.to(torch.float64, copy=True).div_(scale).sub_(g)
    errors = (norm(difference) / exact.length)[known & finite]
    described = summary(errors)

    with_working = with_reference = changes = None
    if credit is not None:
        with_working, with_reference = (
            summary(cosine(prepared(credit), x).cosine[known]).mean for x in (working, exact)
        )
        gap = abs(with_working - with_reference)
        if lost > LOST_SHARE * int(known.sum()):
            changes = True
        elif not math.isnan(gap):
            changes = gap > tolerance
    return Precision(
        dtype=str(working.dtype).removeprefix("torch."),
        relative_error_median=described.median,
        relative_error_p95=described.q95,
        relative_error_max=errors.max().item() if len(errors) else math.nan,
        underflow=underflow,
        samples_lost=lost,
        samples_undefined=int((~known).sum()),
        cosine_working=with_working,
        cosine_reference=with_reference,
        conclusion_changes=changes,
    )
