"""Norms and cosines per sample, right over the whole floating-point range.

A sample is row n of a tensor (N, …): all its other dimensions together are one
vector. Gradients of a diverging network span hundreds of binades (‖g‖ = 1e-8 with
‖h‖ = 1e7 is an ordinary run), and squares leave the range long before the vectors
do. So a vector that is not of ordinary length is first divided by a power of two near
its largest magnitude, which is exact, and only then squared, in float64. No eps is
added anywhere: what has no direction gives NaN and is counted.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from faeval.core.errors import InputError

_ORDINARY = 2.0**-64, 2.0**64  # lengths whose squares and products are far inside the range


@dataclass(frozen=True, eq=False)
class Alignment:
    """Cosines per sample (N,), float64, NaN where there is no direction, and why.

    A sample counts once: as `non_finite` if either vector holds an inf or a NaN,
    else as `zero` if either is the zero vector.
    """

    cosine: Tensor
    zero: int
    non_finite: int

    @property
    def undefined(self) -> int:
        """Number of samples without a cosine."""
        return self.zero + self.non_finite

    @property
    def defined(self) -> Tensor:
        """The cosines that exist, in the order of the samples."""
        return self.cosine[~self.cosine.isnan()]

    @property
    def mean(self) -> float:
        """Mean of the cosines that exist; NaN without any."""
        return self.cosine.nanmean().item()


@dataclass(frozen=True)
class Summary:
    """Distribution of the finite ones of some values; NaN where too few remain.

    `count` values are described, `undefined` were left out (NaN or infinite).
    `std` divides by count − 1. Quantiles interpolate linearly.
    """

    count: int
    undefined: int
    mean: float
    std: float
    q05: float
    q25: float
    median: float
    q75: float
    q95: float


def samplewise(x: Tensor) -> Tensor:
    """`x` (N, …) as a matrix (N, D), outside autograd; a view where the strides allow one.

    Raises InputError for a complex tensor, and where there is no sample dimension or
    nothing in a sample.
    """
    if x.is_complex() or x.ndim == 0 or 0 in x.shape[1:]:
        raise InputError(
            "a real tensor of shape (N, …) with at least one element per sample",
            f"{x.dtype} of shape {tuple(x.shape)}",
            "put the samples in the first dimension",
        )
    return x.detach().reshape(len(x), math.prod(x.shape[1:]))


def same_shape(a: Tensor, b: Tensor) -> None:
    """Raises InputError unless the shapes are equal: broadcasting would hide a slip."""
    if a.shape != b.shape:
        raise InputError(
            "two tensors of one shape",
            f"{tuple(a.shape)} and {tuple(b.shape)}",
            "pass both for the same samples and the same state",
        )


def rescaled(x: Tensor) -> tuple[Tensor, Tensor]:
    """Splits each sample exactly into `rows · scale`, the largest |element| of a row in [1, 2).

    Args:
        x: (N, …), any real dtype.

    Returns:
        rows (N, D) and scale (N, 1), float64. `scale` is a power of two, 1 for a zero
        sample; a sample with an inf or a NaN is NaN in both. `rows` is a fresh tensor.
    """
    rows = samplewise(x).to(torch.float64, copy=True)
    largest = torch.linalg.vector_norm(rows, ord=math.inf, dim=1, keepdim=True)
    # largest = m·2^e with m in [½, 1). Dividing by 2m leaves exactly 2^(e−1), which
    # exists for every float64; 2^e itself overflows, as does 2^−e for subnormals.
    mantissa, _ = torch.frexp(largest)
    scale = torch.where(largest == 0, 1.0, largest / (2 * mantissa))
    return rows.div_(scale), scale


@dataclass(frozen=True, eq=False)
class Rows:
    """Samples prepared once for several measurements: `values · scale`, and ‖values_n‖.

    values (N, D) and scale (N, 1), powers of two, are those of `rescaled`, or the vectors
    themselves and 1 where all are of ordinary length; length is (N,). All are float64; values
    may share the memory of the tensor. Functions that take Rows in place of a tensor give the
    same bits.
    """

    values: Tensor
    scale: Tensor
    length: Tensor


def prepared(x: Tensor | Rows) -> Rows:
    """`x` (N, …) as Rows; Rows as they are."""
    if isinstance(x, Rows):
        return x
    values = samplewise(x).double()
    length = torch.linalg.vector_norm(values, dim=1)
    shortest, longest = _ORDINARY
    if len(length) and length.min().item() >= shortest and length.max().item() <= longest:
        return Rows(values, torch.ones_like(length)[:, None], length)
    values, scale = rescaled(x)
    return Rows(values, scale, torch.linalg.vector_norm(values, dim=1))


def rescaled_together(x: Tensor) -> Tensor:
    """`x` (N, …) as float64 rows (N, D), all divided by one power of two, the largest in [1, 2).

    For what depends on the samples' relative sizes but not on their common unit. Samples
    with an inf or a NaN are NaN and leave the others alone.
    """
    rows, scale = rescaled(x)
    known = scale[rows.any(dim=1, keepdim=True) & scale.isfinite()]
    return rows.mul_(scale / known.max()) if len(known) else rows


def norm(x: Tensor | Rows) -> Tensor:
    """‖x_n‖₂ over all dimensions but the first.

    Args:
        x: (N, …), any real dtype.

    Returns:
        (N,) float64, in the units of x. NaN for a sample with an inf or a NaN; inf
        only where the norm itself exceeds float64.
    """
    rows = prepared(x)
    return rows.length * rows.scale.squeeze(1)


def cosine(a: Tensor | Rows, b: Tensor | Rows) -> Alignment:
    """cos_n = ⟨a_n, b_n⟩ / (‖a_n‖ ‖b_n‖), without eps.

    Multiplying either vector by a power of two that keeps it representable leaves
    every bit of the result as it was (cosines below 1e-280 aside).

    Args:
        a, b: (N, …) of one shape, any real dtypes.

    Returns:
        Alignment with (N,) float64 cosines in [−1, 1].

    Raises:
        InputError: the shapes differ, or have no sample dimension.
    """
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same_shape(a, b)
    u, v = prepared(a), prepared(b)
    lengths = u.length * v.length
    cosines = (torch.linalg.vecdot(u.values, v.values) / lengths).clamp_(-1.0, 1.0)  # rounding
    if len(lengths) and lengths.min().item() > 0:  # NaN would be the minimum
        return Alignment(cosines, zero=0, non_finite=0)
    return Alignment(
        cosine=cosines,
        zero=int((lengths == 0).sum()),
        non_finite=int(lengths.isnan().sum()),
    )


def ratio(a: Tensor | Rows, b: Tensor | Rows) -> Tensor:
    """‖a_n‖ / ‖b_n‖, also where the norms themselves leave the range.

    Args:
        a, b: (N, …) and (N, …′), any real dtypes; the samples' shapes may differ.

    Returns:
        (N,) float64. NaN where b_n is zero or either holds an inf or a NaN; a ratio
        beyond float64 becomes inf or 0.

    Raises:
        InputError: the numbers of samples differ.
    """
    u, v = prepared(a), prepared(b)
    if len(u.length) != len(v.length):
        raise InputError(
            "as many samples in both tensors",
            f"{len(u.length)} and {len(v.length)}",
            "pass both for the same samples",
        )
    quotient = u.length / v.length.where(v.length != 0, math.nan)
    return quotient * (u.scale / v.scale).squeeze(1)


def clamped_cosine(a: Tensor, b: Tensor, eps: float = 1e-8) -> Tensor:
    """What common practice reports: `torch.nn.functional.cosine_similarity` with its defaults.

    x_n = ⟨a_n, b_n⟩ / (max(‖a_n‖, eps) · max(‖b_n‖, eps)), in the dtype given. It
    misleads: a vector shorter than eps is divided by eps instead of its own length,
    so the result shrinks towards 0 with the *size* of the gradient while the direction
    may be perfect, and in half precision squares underflow far earlier still. It is
    here to be set beside `cosine`, never to be judged by.

    Args:
        a, b: (N, …) of one shape, one floating dtype.

    Returns:
        (N,) in the dtype given.
    """
    same_shape(a, b)
    return F.cosine_similarity(samplewise(a), samplewise(b), dim=1, eps=eps)


def summary(values: Tensor) -> Summary:
    """Mean, standard deviation and quantiles of the finite ones of `values` (any shape).

    The standard deviation describes the samples. It is no standard error: samples
    share one network and one feedback (see `faeval.stats`).
    """
    flat = values.detach().flatten()
    finite = flat[flat.isfinite()]
    count = len(finite)
    if not count:
        return Summary(0, len(flat), *[math.nan] * 7)
    rows, scale = rescaled(finite[None])  # so that squares of any norms stay in range
    row, unit = rows[0], scale.item()
    deviation = row.std().item() if count > 1 else math.nan
    quantiles = _quantiles(row, (0.05, 0.25, 0.50, 0.75, 0.95))
    return Summary(
        count, len(flat) - count, row.mean().item() * unit, deviation * unit,
        *[quantile * unit for quantile in quantiles],
    )  # fmt: skip


def _quantiles(values: Tensor, points: tuple[float, ...]) -> list[float]:
    """Linearly interpolated quantiles; `torch.quantile` refuses more than 2²⁴ values."""
    position = torch.tensor(points, dtype=torch.float64, device=values.device) * (len(values) - 1)
    low, high = position.floor().long(), position.ceil().long()
    ordered = values.sort().values
    return torch.lerp(ordered[low], ordered[high], position - low).tolist()
