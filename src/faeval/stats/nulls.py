"""What a number would be by chance alone, and how surprising the observed one is."""

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement, permutations
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.stats._arrays import Float64, Values, finite, float64

Alternative = Literal["two-sided", "greater", "less"]

_ROWS = 64  # samples whose products with all others are held at once: small enough for a cache


@dataclass(frozen=True)
class Null:
    """The distribution of a statistic when nothing but chance is at work.

    mean, std  in the unit of the statistic; a cosine has none
    draws      how many were drawn; None for a closed form
    method     "gaussian-feedback" or "monte-carlo"
    samples    samples that entered; None where the null was not made from samples
    excluded   samples left out: a zero or non-finite vector has no direction
    """

    mean: float
    std: float
    draws: int | None
    method: str
    samples: int | None = None
    excluded: int = 0


def gaussian_feedback_null(reference: Tensor, error: Tensor) -> Null:
    """The null of the batch-mean cosine of B e_n with g_n, for fresh Gaussian B.

    reference: g, (N, …), flattened to (N, D); error: e, (N, C). The entries of B (D×C)
    are i.i.d. N(0, σ²) for any σ. All samples share one B, so the std over samples says
    nothing of this spread. With ĝ_n, ê_n of unit length and ρ_nm = ê_nᵀê_m,

        mean 0,   D · variance = N⁻² Σ_nm (ĝ_nᵀĝ_m) · c_D(ρ_nm),
        c_D(ρ) = E[cos(x, y)] for Gaussian x, y in R^D of correlation ρ
               = ρ · (2/D) (Γ((D+1)/2)/Γ(D/2))² · ₂F₁(½, ½; D/2+1; ρ²)

    (Briët, de Oliveira Filho & Vallentin 2010). This is the exact variance for every N
    and D ≥ 3: the directions of B ê_n and B ê_m rotate together, hence their second
    moment is c_D(ρ_nm)/D times the identity. (At D ≤ 2 the series is cut where at most
    5 % of a term remains.) Since c_D(ρ) = ρ(1 − O(1/D)), the leading term is ‖M‖_F²/D
    with M = N⁻¹ Σ ĝ_n ê_nᵀ; but M may vanish where the spread does not: equal g_n and
    errors that cancel.

    Only the Gaussian shape is approximate. For one sample, or one direction of error,
    (1 + cos)/2 is Beta((D−1)/2, (D−1)/2): the two-sided p-value at z = 1.96 then reads
    0.050 where 0.0492 is true (D = 64; 0.0498 at 256, 0.038 at 8), at z = 3 0.0027 where
    0.0021 is true: the error is on the safe side, and only matters below D of about 16.

    Computed in float64 after division by each vector's largest magnitude, so exact over
    the full float range. Cost O(N²(D + C)), or O(N D C³) where that is less and D ≥ 64, with
    a relative error of the variance below 3e-4. Raises InputError for mismatched shapes and
    where no sample has both directions.
    """
    g, e, excluded = _directions(reference, error)
    n, dimension = g.shape
    relative = _by_features(g, e) if _features_suffice(g, e) else _by_pairs(g, e)
    # Terms of size one that cancel leave rounding behind, which is no spread.
    variance = relative / dimension if relative > 16 * torch.finfo(g.dtype).eps else 0.0
    return Null(0.0, math.sqrt(variance), None, "gaussian-feedback", n, excluded)


def feedback_draws(
    reference: Tensor,
    error: Tensor,
    *,
    draws: int,
    generator: torch.Generator,
    chunk: int = 32,
) -> Tensor:
    """Batch-mean cosines of B e_n with g_n, for `draws` fresh Gaussian matrices B.

    reference: (N, …), flattened to (N, D); error: (N, C). Returns (draws,) float64 on
    the device of `reference`. Each B is drawn by its own call on the CPU: `chunk` bounds
    the memory and changes no number, and fewer draws are a prefix of more. Zero and
    non-finite samples are left out, as in `gaussian_feedback_null`, whose errors it raises.
    """
    if draws < 1 or chunk < 1:
        raise InputError("draws and chunk of at least 1", f"{draws} and {chunk}", "raise them")
    g, e, _ = _directions(reference, error)
    shape = (g.shape[1], e.shape[1])
    means = []
    for start in range(0, draws, chunk):
        count = min(chunk, draws - start)
        B = torch.stack(
            [torch.randn(shape, generator=generator, dtype=g.dtype) for _ in range(count)]
        ).to(g.device)
        # ‖B e‖ = ‖R e‖ for B = QR, with min(D, C) rows instead of D.
        lengths = (torch.linalg.qr(B, mode="r").R @ e.T).norm(dim=1)
        products = torch.einsum("knc,nc->kn", g @ B, e)
        means.append((products / lengths).mean(dim=1))
    return torch.cat(means)


def monte_carlo_null(samples: Values) -> Null:
    """The null that given draws estimate: their mean and standard deviation (m − 1).

    samples: (m,), m ≥ 2, in the unit of the statistic. The relative standard error of
    the std is about 1/√(2m). Raises InputError for fewer or for non-finite draws; p-values
    of few draws come from `rank_p`, which assumes no shape.
    """
    data = finite(samples, "draws of a null")
    if data.size < 2:
        raise InputError("at least 2 draws of a null", "1", "draw more")
    return Null(float(data.mean()), float(data.std(ddof=1)), data.size, "monte-carlo")


def p_value(observed: float, null: Null, *, alternative: Alternative = "two-sided") -> float:
    """P(as extreme as observed) under N(mean, std²): Φ(−z), Φ(z) or 2Φ(−|z|).

    "greater" asks whether the observed value is too large to be chance, "less" too
    small. NaN, that is unmeasured, for a non-finite observed value or a null without
    spread. Raises InputError for an unknown alternative.
    """
    from scipy.special import ndtr

    _check(alternative)
    if not math.isfinite(observed) or not null.std > 0:
        return math.nan
    z = (observed - null.mean) / null.std
    if alternative == "two-sided":
        return float(2 * ndtr(-abs(z)))
    return float(ndtr(-z if alternative == "greater" else z))


def rank_p(observed: float, draws: Values, *, alternative: Alternative = "two-sided") -> float:
    """(b + 1)/(m + 1), b of the m null draws being at least as extreme (Phipson & Smyth 2010).

    draws: (m,), in the unit of `observed`. Exact for every m where the observed value is
    exchangeable with the draws, and never zero. A tie counts as extreme, which can only
    enlarge p. Two-sided is twice the smaller tail, at most 1: no symmetry is assumed.
    NaN for a non-finite observed value. Raises InputError for no draws, non-finite draws
    or an unknown alternative.
    """
    _check(alternative)
    data = finite(draws, "draws of a null")
    if not math.isfinite(observed):
        return math.nan
    greater = (np.count_nonzero(data >= observed) + 1) / (data.size + 1)
    less = (np.count_nonzero(data <= observed) + 1) / (data.size + 1)
    two_sided = min(1.0, 2 * min(greater, less))
    return {"greater": greater, "less": less, "two-sided": two_sided}[alternative]


def benjamini_hochberg(p_values: Values) -> Float64:
    """q-values: min over j ≥ i of m·p_(j)/j, at most 1 (Benjamini & Hochberg 1995).

    p_values: (k,), in any order; the q-values come back in the same order. Rejecting
    q ≤ α keeps the false discovery rate at α for independent or positively dependent
    tests. NaN means unmeasured: it stays NaN and does not count in m. Raises InputError
    for a p-value outside [0, 1].
    """
    from scipy.stats import false_discovery_control

    adjusted = float64(p_values)
    measured = ~np.isnan(adjusted)
    p = adjusted[measured]
    if np.any((p < 0) | (p > 1)):
        raise InputError("p-values in [0, 1]", str(p[(p < 0) | (p > 1)][0]), "pass p-values")
    if p.size:
        adjusted[measured] = false_discovery_control(p)
    return adjusted


def _directions(reference: Tensor, error: Tensor) -> tuple[Tensor, Tensor, int]:
    """Unit vectors (N, D) and (N, C) in float64, and how many samples have not both."""
    fits = reference.ndim >= 2 and error.ndim == 2 and len(reference) == len(error)
    if not fits or 0 in (*reference.shape, *error.shape):
        raise InputError(
            "reference vectors (N, …) and errors (N, C) of the same N samples",
            f"shapes {tuple(reference.shape)} and {tuple(error.shape)}",
            "pass one row per sample",
        )
    g = reference.detach().double().flatten(1)
    e = error.detach().double().to(g.device)
    size_g, size_e = (
        x.abs().amax(1, keepdim=True) if x.numel() else x.sum(1, True) for x in (g, e)
    )
    defined = ((size_g > 0) & (size_e > 0) & size_g.isfinite() & size_e.isfinite()).squeeze(1)
    kept = int(defined.sum())
    if kept == 0:
        raise InputError(
            "at least one sample whose reference and error are finite and not zero",
            f"{len(reference)} samples, none of them",
            "report this reading as unmeasured",
        )
    g, e = g[defined] / size_g[defined], e[defined] / size_e[defined]
    return g / g.norm(dim=1, keepdim=True), e / e.norm(dim=1, keepdim=True), len(reference) - kept


def _features_suffice(g: Tensor, e: Tensor) -> bool:
    """Whether all but the first two powers of ρ are negligible, and their features fewer than
    the samples."""
    return g.shape[1] >= 64 and math.comb(e.shape[1] + 2, 3) < len(g)


def _by_features(g: Tensor, e: Tensor) -> float:
    """N⁻² Σ_nm (ĝ_nᵀĝ_m) c_D(ρ_nm) from its first two powers: Σ_nm (ĝ_nᵀĝ_m) ρ_nm^p is
    ‖Σ_n ĝ_n ⊗ ê_n^{⊗p}‖², and ê ⊗ ê ⊗ ê has few distinct elements."""
    triples = list(combinations_with_replacement(range(e.shape[1]), 3))
    counts = [len(set(permutations(triple))) for triple in triples]
    i, j, k = torch.tensor(triples, device=e.device).T
    weight = torch.tensor(counts, dtype=e.dtype, device=e.device).sqrt()
    cubes = e[:, i] * e[:, j] * e[:, k] * weight
    first = _sphere_series(g.shape[1])[0]
    mean = [float((g.T @ features).square().sum()) / len(g) ** 2 for features in (e, cubes)]
    return first * mean[0] + (1 - first) * mean[1]


def _by_pairs(g: Tensor, e: Tensor) -> float:
    """The same over all pairs of samples, with every power of ρ that counts."""
    series = _sphere_series(g.shape[1])
    total = 0.0
    for rows_g, rows_e in zip(g.split(_ROWS), e.split(_ROWS), strict=True):
        rho = rows_e @ e.T
        square = rho * rho
        factor = torch.full_like(rho, series[-1])
        for coefficient in reversed(series[:-1]):
            factor.mul_(square).add_(coefficient)
        total += float((factor * rho * (rows_g @ g.T)).sum())
    return total / len(g) ** 2


def _sphere_series(dimension: int) -> list[float]:
    """Coefficients a_k of c_D(ρ) = Σ a_k ρ^{2k+1}: positive and of sum c_D(1) = 1.

    So the mass beyond the last power bounds the error of leaving it out, and adding it
    to the last coefficient keeps the equal-direction case exact.
    """
    from scipy.special import poch

    series = [2 / dimension * float(poch(dimension / 2, 0.5)) ** 2]
    while series[-1] > 1e-12 and len(series) < 64:
        k = len(series) - 1
        series.append(series[-1] * (k + 0.5) ** 2 / ((k + 1) * (dimension / 2 + 1 + k)))
    series[-1] += 1 - sum(series)
    return series


def _check(alternative: str) -> None:
    if alternative not in get_args(Alternative):
        raise InputError(
            f"an alternative among {', '.join(get_args(Alternative))}",
            repr(alternative),
            "choose one of them",
        )
