"""Nulls: closed forms against literal sums and against chance itself."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faeval.core.errors import InputError
from faeval.stats import (
    FeedbackNull,
    Null,
    benjamini_hochberg,
    feedback_draws,
    gaussian_feedback_null,
    monte_carlo_null,
    p_value,
    rank_p,
    sources,
)

quick = settings(deadline=None, max_examples=25, derandomize=True, database=None)
seeds = st.integers(0, 2**31)


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=stream(seed), dtype=torch.float64)


def errors(n: int, classes: int, seed: int) -> torch.Tensor:
    """softmax − onehot, as a classifier makes them."""
    labels = torch.randint(classes, (n,), generator=stream(seed))
    softmax = (2 * normal(n, classes, seed=seed + 1)).softmax(1)
    return softmax - torch.nn.functional.one_hot(labels, classes)


def sample(n: int, dimension: int, classes: int, *, structured: bool, seed: int = 0):
    """References that follow the errors through one matrix, or that ignore them."""
    e = errors(n, classes, seed)
    g = normal(n, dimension, seed=seed + 2)
    if structured:
        g = e @ normal(classes, dimension, seed=seed + 3) + 0.3 * g
    return g, e


# --- literal twins ---------------------------------------------------------------------


def expected_cosine(rho: float, dimension: int) -> float:
    from scipy.special import gammaln, hyp2f1

    ratio = math.exp(gammaln((dimension + 1) / 2) - gammaln(dimension / 2))
    return 2 / dimension * ratio**2 * rho * hyp2f1(0.5, 0.5, dimension / 2 + 1, rho**2)


def literal_std(g: torch.Tensor, e: torch.Tensor) -> float:
    """The double sum over pairs of samples, one at a time."""
    n, dimension = g.shape
    total = 0.0
    for i, j in itertools.product(range(n), repeat=2):
        rho = float(e[i] @ e[j] / (e[i].norm() * e[j].norm()))
        similarity = float(g[i] @ g[j] / (g[i].norm() * g[j].norm()))
        total += similarity * expected_cosine(min(max(rho, -1.0), 1.0), dimension)
    return math.sqrt(total / n**2 / dimension)


def leading_std(g: torch.Tensor, e: torch.Tensor) -> float:
    """‖M‖_F / √D."""
    M = (g / g.norm(dim=1, keepdim=True)).T @ (e / e.norm(dim=1, keepdim=True)) / len(g)
    return float(M.norm()) / math.sqrt(g.shape[1])


def literal_draws(g: torch.Tensor, e: torch.Tensor, draws: int, generator) -> list[float]:
    """Draw B, feed every error through it, average the cosines."""
    means = []
    for _ in range(draws):
        B = torch.randn(g.shape[1], e.shape[1], generator=generator, dtype=torch.float64)
        cosines = []
        for g_n, e_n in zip(g, e, strict=True):
            a_n = B @ e_n
            cosines.append(float(a_n @ g_n / (a_n.norm() * g_n.norm())))
        means.append(math.fsum(cosines) / len(cosines))
    return means


def literal_step_up(p: list[float]) -> list[float]:
    """Benjamini & Hochberg as the least level α at which the step-up test rejects."""
    measured = sorted(v for v in p if not math.isnan(v))
    m = len(measured)

    def adjusted(v: float) -> float:
        return min([1.0, *(m * w / rank for rank, w in enumerate(measured, 1) if w >= v)])

    return [v if math.isnan(v) else adjusted(v) for v in p]


# --- closed form of the feedback null --------------------------------------------------


@pytest.mark.parametrize("dimension", [4, 8, 32, 128])
@pytest.mark.parametrize("structured", [True, False])
def test_null_is_the_literal_double_sum(dimension, structured):
    g, e = sample(20, dimension, 5, structured=structured)
    null = gaussian_feedback_null(g, e)
    assert null.std == pytest.approx(literal_std(g, e), rel=1e-6)
    assert (null.mean, null.draws, null.samples, null.excluded) == (0.0, None, 20, 0)


@pytest.mark.parametrize("dimension", [64, 256])
@pytest.mark.parametrize("structured", [True, False])
def test_null_agrees_with_chance(dimension, structured):
    """4,000 draws: mean within 4 standard errors of 0, std within 4 of the closed form."""
    g, e = sample(256, dimension, 10, structured=structured)
    null = gaussian_feedback_null(g, e)
    draws = feedback_draws(g, e, draws=4000, generator=stream(9))
    chance = monte_carlo_null(draws)
    assert abs(chance.mean) < 4 * null.std / math.sqrt(4000)
    assert abs(chance.std - null.std) < 4 * null.std / math.sqrt(2 * 4000)
    # ‖M‖_F/√D is the leading term, and here nearly all of it.
    assert leading_std(g, e) == pytest.approx(null.std, rel=1 / dimension)
    # Under the null the p-values are uniform (Kolmogorov–Smirnov).
    from scipy.stats import kstest

    p = [p_value(float(value), null) for value in draws]
    assert kstest(p, "uniform").pvalue > 0.001


@pytest.mark.parametrize("dimension", [3, 6, 12])
def test_variance_is_exact_for_few_dimensions(dimension):
    """Within 4 standard errors of 40,000 draws; at D = 3, ‖M‖_F/√D is 8 of them off."""
    g, e = sample(6, dimension, 4, structured=True, seed=20)
    null = gaussian_feedback_null(g, e)
    draws = feedback_draws(g, e, draws=40_000, generator=stream(10))
    second = draws.square()
    error = float(second.std()) / math.sqrt(len(draws))
    assert abs(float(second.mean()) - null.std**2) < 4 * error
    if dimension == 3:
        assert abs(float(second.mean()) - leading_std(g, e) ** 2) > 6 * error


def test_spread_remains_where_the_leading_term_vanishes():
    """One reference and three errors that cancel: M = 0, yet the cosine varies."""
    angle = torch.tensor([0, 2, 4], dtype=torch.float64) * math.pi / 3
    e = torch.stack([angle.cos(), angle.sin()], 1)
    g = torch.ones(3, 8)
    null = gaussian_feedback_null(g, e)
    chance = monte_carlo_null(feedback_draws(g, e, draws=20_000, generator=stream(11)))
    assert leading_std(g.double(), e) < 1e-15
    assert chance.std == pytest.approx(null.std, rel=4 * 1.5 / math.sqrt(2 * 20_000))


def test_exact_cancellation_is_no_spread():
    """cos(B(−e)) = −cos(Be): the mean is 0 in every draw, and no p-value is claimed."""
    e = torch.tensor([[0.3, -0.3], [-0.7, 0.7]])
    null = gaussian_feedback_null(torch.rand(1, 9, generator=stream(0)).expand(2, 9), e)
    assert null.std == 0.0
    assert math.isnan(p_value(1e-17, null))


@quick
@given(seeds, st.integers(2, 300), st.integers(1, 12))
def test_one_sample_has_std_one_over_root_d(seed, dimension, classes):
    null = gaussian_feedback_null(
        normal(1, dimension, seed=seed), normal(1, classes, seed=seed + 1)
    )
    assert null.std == pytest.approx(1 / math.sqrt(dimension), rel=1e-9)


@quick
@given(seeds, st.integers(-900, 900), st.integers(-900, 900))
def test_scale_of_feedback_and_error_is_irrelevant(seed, k_g, k_e):
    g, e = sample(7, 16, 4, structured=True, seed=seed)
    scaled = gaussian_feedback_null(g * 2.0**k_g, e * 2.0**k_e)
    assert scaled == gaussian_feedback_null(g, e)


@quick
@given(seeds)
def test_rotation_permutation_and_duplication_are_irrelevant(seed):
    g, e = sample(9, 16, 4, structured=True, seed=seed)
    std = pytest.approx(gaussian_feedback_null(g, e).std, rel=1e-10)
    rotation = torch.linalg.qr(normal(16, 16, seed=seed)).Q
    order = torch.randperm(9, generator=stream(seed))
    assert gaussian_feedback_null(g @ rotation, e).std == std
    assert gaussian_feedback_null(g[order], e[order]).std == std
    assert gaussian_feedback_null(g.repeat(3, 1), e.repeat(3, 1)).std == std
    assert gaussian_feedback_null(g.reshape(9, 4, 2, 2), e).std == std


@pytest.mark.parametrize("size", [2.0**-120, 2.0**-1070, 2.0**1000])
def test_vectors_of_extreme_length_keep_their_direction(size):
    g = torch.tensor([[3.0, 4.0, 0.0], [0.0, 5.0, 12.0]], dtype=torch.float64)
    e = torch.tensor([[1.0, -1.0], [-2.0, 2.0]], dtype=torch.float64)
    assert gaussian_feedback_null(g * size, e * size) == gaussian_feedback_null(g, e)
    draws = [
        feedback_draws(s * g, s * e, draws=5, generator=stream(0)).tolist() for s in (1.0, size)
    ]
    assert draws[0] == draws[1]


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["reference", "error"])
def test_samples_without_direction_are_left_out_and_counted(value, where):
    g, e = sample(8, 16, 4, structured=True)
    expected = gaussian_feedback_null(g[2:], e[2:])
    draws = feedback_draws(g[2:], e[2:], draws=5, generator=stream(1))
    broken = g if where == "reference" else e
    broken[0] = value
    broken[1, :] = value
    null = gaussian_feedback_null(g, e)
    assert (null.std, null.samples, null.excluded) == (expected.std, 6, 2)
    assert torch.equal(feedback_draws(g, e, draws=5, generator=stream(1)), draws)
    if math.isfinite(value):
        return
    g, e = sample(8, 16, 4, structured=True)
    (g if where == "reference" else e)[3, 1] = value  # one bad entry is enough
    assert gaussian_feedback_null(g, e).excluded == 1


def test_refusals_of_the_feedback_null():
    g, e = sample(4, 16, 3, structured=False)
    for bad_g, bad_e in [(g[:3], e), (g[:0], e[:0]), (g[:, 0], e), (g, e[:, :0]), (0 * g, e)]:
        with pytest.raises(InputError):
            gaussian_feedback_null(bad_g, bad_e)
        with pytest.raises(InputError):
            feedback_draws(bad_g, bad_e, draws=3, generator=stream(0))
    with pytest.raises(InputError):
        feedback_draws(g, e, draws=0, generator=stream(0))


def test_inputs_are_not_changed_and_rows_are_chunked(monkeypatch):
    g, e = sample(30, 16, 4, structured=True)
    g.requires_grad_()
    copies = g.detach().clone(), e.clone()
    whole = gaussian_feedback_null(g, e)
    monkeypatch.setattr("faeval.stats.feedback._ROWS", 7)
    assert gaussian_feedback_null(g, e).std == pytest.approx(whole.std, rel=1e-12)
    assert torch.equal(g, copies[0])
    assert torch.equal(e, copies[1])
    assert g.grad is None


# --- Monte Carlo -----------------------------------------------------------------------


@pytest.mark.parametrize(("dimension", "classes"), [(1, 3), (4, 6), (16, 4)])
def test_draws_are_the_literal_draws(dimension, classes):
    g, e = normal(5, dimension, seed=1), normal(5, classes, seed=2)
    got = feedback_draws(g, e, draws=10, generator=stream(3), chunk=4)
    assert got.tolist() == pytest.approx(literal_draws(g, e, 10, stream(3)), rel=1e-10)


def test_draws_know_neither_chunk_nor_global_seed():
    g, e = sample(8, 12, 3, structured=True)
    state = torch.get_rng_state()
    reference = feedback_draws(g, e, draws=20, generator=stream(4))
    assert torch.equal(torch.get_rng_state(), state)
    for draws, chunk in [(20, 1), (20, 7), (11, 32)]:
        got = feedback_draws(g, e, draws=draws, generator=stream(4), chunk=chunk)
        assert got.tolist() == pytest.approx(reference[:draws].tolist(), rel=1e-12)


def test_monte_carlo_null_counts_its_draws():
    assert monte_carlo_null(torch.tensor([1.0, 2.0, 3.0])) == Null(2.0, 1.0, 3, "monte-carlo")
    for bad in ([], [1.0], [1.0, math.nan]):
        with pytest.raises(InputError):
            monte_carlo_null(bad)


# --- p-values --------------------------------------------------------------------------


def test_gaussian_p_value_against_the_error_function():
    null = Null(0.1, 0.2, None, "closed")
    for observed in (-0.5, 0.0, 0.1, 0.45):
        z = (observed - 0.1) / 0.2
        upper = math.erfc(z / math.sqrt(2)) / 2
        assert p_value(observed, null, alternative="greater") == pytest.approx(upper)
        assert p_value(observed, null, alternative="less") == pytest.approx(1 - upper)
        assert p_value(observed, null) == pytest.approx(math.erfc(abs(z) / math.sqrt(2)))
    assert 0 < p_value(6.1, null) < 1e-190  # 30 standard deviations are not yet zero


def test_unmeasured_stays_unmeasured():
    null = Null(0.0, 1.0, None, "closed")
    for observed in (math.nan, math.inf):
        assert math.isnan(p_value(observed, null))
        assert math.isnan(rank_p(observed, [1.0, 2.0]))
    with pytest.raises(InputError, match="'both'"):
        p_value(0.0, null, alternative="both")  # pyright: ignore[reportArgumentType]
    for bad in ([], [1.0, math.inf]):
        with pytest.raises(InputError):
            rank_p(0.0, bad)


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_rank_p_is_exact(alternative):
    """All orders of m + 1 = 6 exchangeable values: P(p ≤ α) = α at every attainable α."""
    p = [
        rank_p(order[0], order[1:], alternative=alternative)
        for order in itertools.permutations([-2.0, -0.5, 0.1, 0.7, 3.0, 9.0])
    ]
    for level in sorted(set(p)):
        assert np.mean(np.array(p) <= level + 1e-12) == pytest.approx(level)
    assert min(p) == pytest.approx((2 if alternative == "two-sided" else 1) / 6)


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_rank_p_is_conservative_with_ties(alternative):
    p = [
        rank_p(order[0], order[1:], alternative=alternative)
        for order in itertools.permutations([0.0, 0.0, 0.0, 1.0, 1.0, 2.0])
    ]
    for level in sorted(set(p)):
        assert np.mean(np.array(p) <= level + 1e-12) <= level + 1e-12
    assert rank_p(0.5, [0.5] * 4, alternative=alternative) == 1.0


@quick
@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12))
def test_benjamini_hochberg_is_the_step_up_test(p):
    got = benjamini_hochberg(p)
    assert got.tolist() == pytest.approx(literal_step_up(p), rel=1e-12, nan_ok=True)
    measured = [i for i in range(len(p)) if not math.isnan(p[i])]
    order = sorted(measured, key=lambda i: p[i])
    assert np.all(np.diff(got[order]) >= 0)


def test_benjamini_hochberg_ignores_what_was_not_measured():
    assert benjamini_hochberg([0.01, math.nan, 0.04, 0.03]).tolist() == pytest.approx(
        [0.03, math.nan, 0.04, 0.04], nan_ok=True
    )
    assert benjamini_hochberg([]).size == 0
    assert np.isnan(benjamini_hochberg([math.nan])).all()
    for bad in (-0.1, 1.1, math.inf):
        with pytest.raises(InputError):
            benjamini_hochberg([0.5, bad])


def gathered(g: torch.Tensor, e: torch.Tensor, *, samples: int, chunk: int = 300) -> Null:
    """The null over chunks; many `samples` to come ask for features, none for pairs."""
    null = FeedbackNull(samples)
    for rows, errors in zip(g.split(chunk), e.split(chunk), strict=True):
        null.add(rows, rows.norm(dim=1), sources(errors))
    return null.null()


MANY, NONE = 10**9, 0


@pytest.mark.parametrize("dimension", [64, 128, 256])
@pytest.mark.parametrize("classes", [2, 5, 10])
def test_features_and_pairs_give_one_variance(dimension, classes):
    draw = torch.Generator().manual_seed(dimension + classes)
    e = torch.randn(300, classes, generator=draw, dtype=torch.float64)
    mixing = torch.randn(classes, dimension, generator=draw, dtype=torch.float64)
    for noise in (0.0, 3.0):
        g = e @ mixing + noise * torch.randn(300, dimension, generator=draw, dtype=torch.float64)
        features, pairs = (gathered(g, e, samples=n) for n in (MANY, NONE))
        assert features.std**2 == pytest.approx(pairs.std**2, rel=3e-4)
        assert features.std != pairs.std
        assert gaussian_feedback_null(g, e).std == pytest.approx(features.std, rel=1e-9)


def test_features_see_the_spread_that_the_first_power_misses():
    """Equal references and errors that cancel: M = 0, but the spread is not."""
    draw = torch.Generator().manual_seed(0)
    half = torch.randn(150, 4, generator=draw, dtype=torch.float64)
    e = torch.cat([half, -half])
    g = torch.zeros(300, 64, dtype=torch.float64)
    g[:, 0] = 1
    for samples in (MANY, NONE):
        assert gathered(g, e, samples=samples).std == 0
    lopsided = torch.where(e[:, :1] > 0, e, -e * torch.tensor([1.0, -1, 1, -1]))
    features, pairs = (gathered(g, lopsided, samples=n) for n in (MANY, NONE))
    assert features.std**2 == pytest.approx(pairs.std**2, rel=3e-4)
    assert features.std > 0


@pytest.mark.parametrize("samples", [MANY, NONE])
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_give_the_null_of_the_whole(samples, chunk):
    g, e = sample(100, 64, 4, structured=True)
    g[5], e[9], g[20] = 0.0, 0.0, math.nan
    whole, parts = (gathered(g, e, samples=samples, chunk=k) for k in (100, chunk))
    assert parts.std == pytest.approx(whole.std, rel=1e-9)
    assert (parts.samples, parts.excluded) == (whole.samples, whole.excluded) == (97, 3)
