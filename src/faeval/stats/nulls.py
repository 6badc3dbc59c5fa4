"""What a number would be by chance alone, and how surprising the observed one is."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from faeval.core.errors import InputError
from faeval.stats._arrays import Float64, Values, finite, float64

Alternative = Literal["two-sided", "greater", "less"]


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
    adjusted = float64(p_values)
    measured = ~np.isnan(adjusted)
    p = adjusted[measured]
    if np.any((p < 0) | (p > 1)):
        raise InputError("p-values in [0, 1]", str(p[(p < 0) | (p > 1)][0]), "pass p-values")
    if p.size:
        falling = np.argsort(p)[::-1]
        scaled = p[falling] * p.size / np.arange(p.size, 0, -1)
        q = np.empty_like(p)
        q[falling] = np.minimum(np.minimum.accumulate(scaled), 1.0)
        adjusted[measured] = q
    return adjusted


def _check(alternative: str) -> None:
    if alternative not in get_args(Alternative):
        raise InputError(
            f"an alternative among {', '.join(get_args(Alternative))}",
            repr(alternative),
            "choose one of them",
        )
