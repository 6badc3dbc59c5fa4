"""Is the working precision good enough for what is read from it?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.measurement.alignment import (
    Alignment,
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


@dataclass(frozen=True, eq=False)
class Compared:
    """What `compare` knows of each sample; see `Precision`.

    `error` (N,) is NaN where w_n is not finite or g_n undefined. `underflow` counts elements. The
    alignments are those of a credit with w and with g.
    """

    dtype: str
    known: Tensor
    lost: Tensor
    underflow: int
    error: Tensor
    with_working: Alignment | None
    with_reference: Alignment | None


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
    return concluded(compared(working, reference, credit), tolerance=tolerance)


def compared(
    working: Tensor, reference: Tensor | Rows, credit: Tensor | Rows | None = None
) -> Compared:
    """The part of `compare` that is done sample by sample, with its arguments and errors."""
    for other in (reference, credit):
        if isinstance(other, Tensor):
            same_shape(working, other)
    if not working.is_floating_point():
        raise InputError("a floating dtype", str(working.dtype), "pass the gradient as computed")
    w, g = prepared(working), prepared(reference)
    known = g.length > 0
    # In one unit the difference of two tiny vectors is exact; `norm` guards its squares.
    error = norm(torch.sub(w.values * (w.scale / g.scale), g.values)) / g.length
    a = None if credit is None else prepared(credit)
    return Compared(
        dtype=str(working.dtype).removeprefix("torch."),
        known=known,
        lost=known & ~(w.length > 0),
        underflow=_underflow(samplewise(working), g),
        error=error.where(known, math.nan),
        with_working=None if a is None else cosine(a, w),
        with_reference=None if a is None else cosine(a, g),
    )


def concluded(samples: Compared, *, tolerance: float = 0.01) -> Precision:
    """The part of `compare` that needs all samples."""
    known = samples.known
    errors = samples.error[~samples.error.isnan()]
    described = summary(errors)
    lost = int(samples.lost.sum())
    with_working = with_reference = changes = None
    if samples.with_working is not None and samples.with_reference is not None:
        with_working, with_reference = (
            aligned.cosine[known].nanmean().item()
            for aligned in (samples.with_working, samples.with_reference)
        )
        gap = abs(with_working - with_reference)
        if lost > LOST_SHARE * int(known.sum()):
            changes = True
        elif not math.isnan(gap):
            changes = gap > tolerance
    return Precision(
        dtype=samples.dtype,
        relative_error_median=described.median,
        relative_error_p95=described.q95,
        relative_error_max=errors.max().item() if len(errors) else math.nan,
        underflow=samples.underflow,
        samples_lost=lost,
        samples_undefined=int((~known).sum()),
        cosine_working=with_working,
        cosine_reference=with_reference,
        conclusion_changes=changes,
    )


def _underflow(working: Tensor, reference: Rows) -> int:
    if not len(working) or working.abs().min().item() > 0:
        return 0
    size = reference.values.abs()
    visible = size > torch.finfo(working.dtype).eps * size.amax(dim=1, keepdim=True)
    return int((visible & (working == 0)).sum())
