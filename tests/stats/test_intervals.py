"""Intervals: exact where theory is exact, covering what they claim, silent where they must be."""

import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faeval.core.errors import InputError
from faeval.stats import bootstrap, paired_t, student_t

quick = settings(deadline=None, max_examples=25, derandomize=True, database=None)
numbers = st.floats(-1e3, 1e3)


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mean(x: torch.Tensor) -> torch.Tensor:
    return x.mean(1)


def bounds(interval) -> np.ndarray:
    return np.array([interval.low, interval.high])


# --- Student-t -------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "quantile"), [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262)])
def test_student_t_against_the_table(n, quantile):
    values = [0.3 * i * i - 1 for i in range(n)]
    got = student_t(values, population="seeds")
    half = quantile * statistics.stdev(values) / math.sqrt(n)
    assert (got.n, got.method, got.population) == (n, "student-t", "seeds")
    assert got.estimate == pytest.approx(statistics.fmean(values))
    assert bounds(got) == pytest.approx(
        statistics.fmean(values) + np.array([-half, half]), rel=1e-3
    )


@quick
@given(st.lists(numbers, min_size=2, max_size=8), st.integers(-900, 900))
def test_student_t_scales_exactly(values, k):
    """Powers of two, far beyond where a sum of squares would overflow or vanish."""
    base = student_t(values, population="images")
    scaled = student_t([math.ldexp(v, k) for v in values], population="images")
    back = [math.ldexp(v, -k) for v in (scaled.estimate, scaled.low, scaled.high)]
    # A value far below the largest may lose bits when it is scaled down.
    assert back == pytest.approx([base.estimate, base.low, base.high], rel=1e-12, abs=1e-15)


def test_one_value_has_no_interval_and_says_so():
    for got in (
        student_t([0.7], population="seeds"),
        paired_t([1.7], [1.0], population="seeds"),
        bootstrap([0.7], mean, generator=stream(0), population="seeds"),
    ):
        assert got.estimate == pytest.approx(0.7)
        assert (got.low, got.high, got.n, got.method) == (None, None, 1, "none")


def test_paired_t_is_student_t_of_the_differences():
    a, b = torch.randn(2, 6, generator=stream(1), dtype=torch.float64)
    assert paired_t(a, b, population="seeds") == student_t(a - b, population="seeds")
    # What the pairs share is no part of the uncertainty.
    shared = 100 * torch.randn(6, generator=stream(2), dtype=torch.float64)
    assert bounds(paired_t(a + shared, b + shared, population="seeds")) == pytest.approx(
        bounds(paired_t(a, b, population="seeds")), rel=1e-10
    )


def test_inputs_may_be_tensors_arrays_or_lists_and_stay_untouched():
    tensor = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    array = np.array([1.0, 2.0, 4.0], dtype=np.float32)
    array.setflags(write=False)
    expected = student_t([1, 2, 4], population="seeds")
    assert student_t(tensor, population="seeds") == expected
    assert student_t(array, population="seeds") == expected
    assert student_t(tensor.detach().bfloat16(), population="seeds") == expected


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [math.inf, 1.0, 2.0]])
def test_undefined_values_are_refused(bad):
    with pytest.raises(InputError):
        student_t(bad, population="seeds")
    with pytest.raises(InputError):
        paired_t(bad, [1.0] * len(bad), population="seeds")
    with pytest.raises(InputError):
        bootstrap(bad, mean, generator=stream(0))


def test_other_refusals():
    with pytest.raises(InputError, match="4 and 3"):
        paired_t([1, 2, 3, 4], [1, 2, 3], population="seeds")
    with pytest.raises(InputError, match="'epochs'"):
        student_t([1, 2], population="epochs")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="level"):
        student_t([1, 2], population="seeds", level=95)
    with pytest.raises(InputError, match="draws"):
        bootstrap([1, 2], mean, generator=stream(0), draws=1)
    with pytest.raises(InputError, match="shape"):
        bootstrap([1, 2], lambda x: x, generator=stream(0))
    with pytest.raises(InputError, match="undefined"):
        bootstrap([1, 2, 3.0], lambda x: x.mean(1) / x.std(1), generator=stream(0))


# --- bootstrap -------------------------------------------------------------------------


def test_bootstrap_depends_on_its_generator_only():
    values = torch.randn(12, generator=stream(3))
    global_state = torch.get_rng_state()
    first = bootstrap(values, mean, generator=stream(4))
    assert torch.equal(torch.get_rng_state(), global_state)
    torch.manual_seed(99)
    assert bootstrap(values, mean, generator=stream(4)) == first
    assert bootstrap(values, mean, generator=stream(5)) != first
    torch.set_rng_state(global_state)


def test_bootstrap_chunks_change_nothing(monkeypatch):
    values = torch.randn(40, 3, generator=stream(6))

    def ratio(x):
        return (x[..., 0] * x[..., 1]).sum(1) / x[..., 2].square().sum(1)

    whole = bootstrap(values, ratio, generator=stream(7))
    monkeypatch.setattr("faeval.stats.intervals._BUDGET", 1000)
    pieces = bootstrap(values, ratio, generator=stream(7))
    assert bounds(pieces) == pytest.approx(bounds(whole), rel=1e-12)


def test_bca_against_scipy():
    """With Student's widened quantile as its normal one, scipy's BCa is this one."""
    from scipy.special import ndtr
    from scipy.stats import bootstrap as scipy_bootstrap

    def std(x):
        return x.std(1, correction=0)

    values = np.random.default_rng(1).standard_exponential(30)
    got = bootstrap(values, std, generator=stream(1), draws=200_000)
    level = 1 - 2 * ndtr(-math.sqrt(30 / 29) * 2.04523)  # t of 29 degrees of freedom
    peer = scipy_bootstrap(
        (values,), np.std, n_resamples=200_000, confidence_level=level, method="BCa", rng=1
    )
    assert got.method == "bca-t"
    # Two runs of 200,000 draws differ by about 0.05 s.e. at the stretched end; the plain
    # percentile is 0.4 and 1.0 s.e. off.
    expected = np.array(peer.confidence_interval)
    assert bounds(got) == pytest.approx(expected, abs=0.1 * peer.standard_error)


def test_few_values_or_few_draws_take_the_standard_error():
    values = torch.randn(9, generator=stream(8), dtype=torch.float64)
    small = bootstrap(values, mean, generator=stream(9), draws=20_000)
    student = student_t(values, population="images")
    width = np.ptp(bounds(student))
    assert small.method == "bootstrap-se"
    # The std of m draws has a relative standard error of 1/√(2m) = 0.5 %.
    assert bounds(small) == pytest.approx(bounds(student), abs=0.02 * width)
    values = torch.randn(10, generator=stream(8))
    assert bootstrap(values, mean, generator=stream(9)).method == "bca-t"
    assert bootstrap(values, mean, generator=stream(9), draws=200).method == "bootstrap-se"
    assert bootstrap(values, mean, generator=stream(9), level=0.999).method == "bootstrap-se"


@pytest.mark.parametrize("n", [4, 12])
def test_bootstrap_of_equal_values_is_a_point(n):
    got = bootstrap([0.5] * n, mean, generator=stream(0))
    assert (got.estimate, got.low, got.high) == (0.5, 0.5, 0.5)


# --- coverage --------------------------------------------------------------------------


def hits(interval_of, n: int, replications: int, seed: int) -> float:
    """Share of intervals that hold the true mean, 0, of Gaussian values."""
    data = torch.randn(replications, n, generator=stream(seed), dtype=torch.float64)
    covered = 0
    for values in data:
        got = interval_of(values)
        covered += got.low <= 0 <= got.high
    return covered / replications


@pytest.mark.parametrize(("n", "level"), [(3, 0.95), (5, 0.95), (10, 0.95), (5, 0.8)])
def test_student_t_covers(n, level):
    """4,000 replications: Monte-Carlo standard error 0.34 points at 95 %, 0.63 at 80 %."""
    share = hits(lambda v: student_t(v, population="seeds", level=level), n, 4000, seed=n)
    assert share == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_bootstrap_covers(n):
    """2,200 replications of 1,000 draws: Monte-Carlo standard error 0.46 points."""
    generator = stream(100 + n)
    share = hits(lambda v: bootstrap(v, mean, generator=generator, draws=1000), n, 2200, seed=n)
    assert share == pytest.approx(0.95, abs=0.02)


def test_an_interval_is_cut_to_what_is_possible():
    wide = student_t([0.7, 1.0], population="seeds")
    assert wide.high > 1 > wide.estimate > 0 > wide.low
    cut = wide.within(0, 1)
    assert (cut.low, cut.high, cut.estimate) == (0, 1, wide.estimate)
    assert wide.within(-10, 10) == wide
    alone = student_t([0.9], population="seeds")
    assert alone.within(0, 1) is alone
