"""The null of a credit that is one Gaussian matrix times a vector per sample: in closed form,
and drawn."""

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import combinations_with_replacement, permutations

import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.stats.nulls import Null

_ROWS = 64  # samples whose products with all others are held at once: small enough for a cache


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
    where no sample has both directions. `FeedbackNull` does the same over chunks of samples.
    """
    g, e, _ = _directions(reference, error)
    null = FeedbackNull(len(reference))
    null.add(g, torch.ones_like(g[:, 0]), sources(e))
    return replace(null.null(), excluded=len(reference) - len(g))


@dataclass(frozen=True, eq=False)
class Sources:
    """What a credit B s_n is made of, prepared once for all states: unit (N, C) in float64, and
    which samples have a direction, defined (N,)."""

    unit: Tensor
    defined: Tensor

    @cached_property
    def cubes(self) -> Tensor:
        """(N, F) in float32: the distinct elements of ê ⊗ ê ⊗ ê, weighted so that their inner
        products are ρ³. What they are for weighs 1/D of the whole."""
        i, j, k, weight = _triples(self.unit.shape[1])
        e, weight = self.unit.float(), weight.to(self.unit.device).float()
        return e[:, i] * e[:, j] * e[:, k] * weight


def sources(error: Tensor) -> Sources:
    """The vectors s_n, (N, C), as `FeedbackNull` takes them."""
    e = error.detach().double()
    size = e.abs().amax(dim=1, keepdim=True)
    defined = (size > 0) & size.isfinite()
    e = e / size
    return Sources(e / e.norm(dim=1, keepdim=True), defined.squeeze(1))


class FeedbackNull:
    """`gaussian_feedback_null`, gathered over chunks of the `samples` that are to come.

    Keeps sums of size D·C³ where D ≥ 64 and C³/6 is less than the samples, else all vectors.
    """

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self._count = self._seen = 0
        self._sums: tuple[Tensor, Tensor] | None = None
        self._vectors: list[tuple[Tensor, Tensor]] = []

    def add(self, g: Tensor, length: Tensor, of: Sources) -> None:
        """The next samples: references g (n, D) in float64, each in a unit of its own, with their
        lengths (n,) in that unit; a length of zero or NaN is that of no direction."""
        self._seen += len(g)
        defined = of.defined & (length > 0)
        whole = bool(defined.all())
        if not whole:
            g, length = g[defined], length[defined]
        self._count += len(g)
        # All but the first two powers of ρ are negligible, and their features are few.
        if g.shape[1] >= 64 and math.comb(of.unit.shape[1] + 2, 3) < self.samples:
            e, cubes = (t if whole else t[defined] for t in (of.unit, of.cubes))
            inverse = 1 / length[:, None]
            if self._sums is None:
                d = g.shape[1]
                self._sums = e.new_zeros(e.shape[1], d), cubes.new_zeros(d, cubes.shape[1])
            linear, cubic = self._sums
            linear.addmm_((e * inverse).T, g)
            cubic.addmm_(g.float().T, cubes * inverse.float())
        else:
            self._vectors.append((g / length[:, None], of.unit if whole else of.unit[defined]))

    def null(self) -> Null:
        """The null of all samples so far; InputError where none has both directions."""
        if not self._count:
            raise InputError(
                "at least one sample whose reference and error are finite and not zero",
                f"{self._seen} samples, none of them",
                "report this reading as unmeasured",
            )
        if self._sums is not None:
            dimension, total = len(self._sums[1]), _by_features(*self._sums)
        else:
            g, e = (torch.cat(side) for side in zip(*self._vectors, strict=True))
            dimension, total = g.shape[1], _by_pairs(g, e)
        relative = total / self._count**2
        # Terms of size one that cancel leave rounding behind, which is no spread.
        eps = torch.finfo(torch.float64).eps
        std = math.sqrt(relative / dimension) if relative > 16 * eps else 0.0
        excluded = self._seen - self._count
        return Null(0.0, std, None, "gaussian-feedback", self._count, excluded)


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


def _by_features(linear: Tensor, cubic: Tensor) -> float:
    """Σ_nm (ĝ_nᵀĝ_m) c_D(ρ_nm) from its first two powers: Σ_nm (ĝ_nᵀĝ_m) ρ_nm^p is
    ‖Σ_n ĝ_n ⊗ ê_n^{⊗p}‖², and ê ⊗ ê ⊗ ê has few distinct elements."""
    first = _sphere_series(len(cubic))[0]
    squares = [float(sums.double().square().sum()) for sums in (linear, cubic)]
    return first * squares[0] + (1 - first) * squares[1]


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
    return total


@cache
def _triples(classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Indices i ≤ j ≤ k of ê ⊗ ê ⊗ ê, and √ of how often each product occurs in it."""
    triples = list(combinations_with_replacement(range(classes), 3))
    counts = [len(set(permutations(triple))) for triple in triples]
    i, j, k = torch.tensor(triples).T
    return i, j, k, torch.tensor(counts, dtype=torch.float64).sqrt()


@cache
def _sphere_series(dimension: int) -> tuple[float, ...]:
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
    return tuple(series)
