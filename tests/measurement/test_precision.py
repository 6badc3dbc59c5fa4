import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faeval.core.errors import InputError
from faeval.measurement.precision import compare


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def relative_errors(w, g):
    return [
        math.dist(a.flatten().tolist(), b.flatten().tolist()) / math.hypot(*b.flatten().tolist())
        for a, b in zip(w.double(), g, strict=True)
    ]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(21, 8), (21, 2, 3), (21, 2, 3, 2)])
def test_errors_against_a_literal_twin(dtype, shape):
    g = draw(*shape)
    w = g.to(dtype)
    errors = relative_errors(w, g)
    reading = compare(w, g)
    assert reading.dtype == str(dtype).split(".")[1]
    assert reading.relative_error_median == pytest.approx(statistics.median(errors), rel=1e-9)
    twentieths = statistics.quantiles(errors, n=20, method="inclusive")
    assert reading.relative_error_p95 == pytest.approx(twentieths[-1], rel=1e-9)
    assert reading.relative_error_max == pytest.approx(max(errors), rel=1e-9)
    assert 0 < reading.relative_error_max <= torch.finfo(dtype).eps / 2
    assert (reading.underflow, reading.samples_lost, reading.samples_undefined) == (0, 0, 0)
    assert reading.cosine_working is reading.cosine_reference is reading.conclusion_changes is None


@given(power=st.integers(-120, 120), seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_scale_plays_no_part_until_the_dtype_ends(power, seed):
    g = draw(6, 5, seed=seed)
    w = g.float()
    scaled = compare(w.double() * 2.0 ** (8 * power), g * 2.0 ** (8 * power), g + 1)
    plain = compare(w.double(), g, g + 1)
    assert scaled == plain
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    turned = compare(w[order].double(), g[order], g[order] + 1)
    assert turned.relative_error_p95 == pytest.approx(plain.relative_error_p95, rel=1e-12)
    assert compare(w[:1], g[:1]).relative_error_max == pytest.approx(
        relative_errors(w[:1], g[:1])[0], rel=1e-9
    )


def test_small_gradients_are_sound_in_float32_and_lost_in_float16():
    g = draw(50, 30, seed=1) * 4e-9
    credit = g / 4e-9 + draw(50, 30, seed=2)
    single = compare(g.float(), g, credit)
    assert single.relative_error_max < 1e-7
    assert (single.underflow, single.samples_lost, single.conclusion_changes) == (0, 0, False)
    assert single.cosine_working == pytest.approx(single.cosine_reference, abs=1e-7)
    half = compare(g.half(), g, credit)
    assert (half.samples_lost, half.relative_error_max) == (50, 1.0)
    assert half.underflow > 1400  # all but what eps hides anyway
    assert half.conclusion_changes is True


def test_underflow_counts_what_rounding_would_not_hide():
    eps = torch.finfo(torch.float16).eps
    g = torch.tensor([[1.0, 2 * eps, eps / 2, 0.0, -0.5], [8.0, 4 * eps, 9 * eps, 0.0, 1.0]])
    w = g.half()
    w[:, 1:3] = 0.0
    assert compare(w, g.double()).underflow == 2  # 2·eps of 1, 9·eps of 8


def test_lost_and_undefined_samples():
    g = draw(10, 3)
    w = g.float()
    w[0] = 0.0
    w[1, 2] = math.inf
    w[2, 0] = math.nan
    g[3] = 0.0  # and w[3] is not: no yardstick, so it says nothing
    g[4, 0] = math.nan
    reading = compare(w, g, g.nan_to_num() + 1)
    assert (reading.samples_lost, reading.samples_undefined) == (3, 2)
    assert reading.relative_error_max == 1.0  # the zero one; inf and NaN have no error
    assert reading.relative_error_median < 1e-6
    assert reading.conclusion_changes is True


@pytest.mark.parametrize(("samples", "changes"), [(100, False), (99, True)])
def test_one_lost_sample_in_a_hundred_is_the_limit(samples, changes):
    g = torch.ones(samples, 4, dtype=torch.float64)
    w = g.float()
    w[0] = 0.0
    assert compare(w, g, g).conclusion_changes is changes


def test_the_conclusion_changes_with_the_mean_cosine():
    g = torch.tensor([[1.0, 0.0]]).double()
    w = torch.tensor([[math.cos(0.2), math.sin(0.2)]])
    reading = compare(w, g, g)
    assert reading.cosine_working == pytest.approx(math.cos(0.2))
    assert reading.cosine_reference == 1
    assert reading.conclusion_changes is True
    assert compare(w, g, g, tolerance=0.03).conclusion_changes is False
    assert compare(w, g, torch.zeros(1, 2)).conclusion_changes is None
    assert compare(w * 0, g, torch.zeros(1, 2)).conclusion_changes is True


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_no_reference_no_reading(value):
    g = torch.full((3, 2), value, dtype=torch.float64)
    reading = compare(torch.ones(3, 2), g, torch.ones(3, 2))
    assert reading.samples_undefined == 3
    assert math.isnan(reading.relative_error_max)
    assert reading.conclusion_changes is None


def test_wrong_arguments_are_told():
    g = torch.ones(3, 2, dtype=torch.float64)
    with pytest.raises(InputError):
        compare(torch.ones(3, 1), g)
    with pytest.raises(InputError, match="floating"):
        compare(torch.ones(3, 2, dtype=torch.int64), g)
    with pytest.raises(InputError):
        compare(torch.ones(3, 2), g, torch.ones(2, 2))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_measuring_leaves_no_trace(context):
    g, w = draw(4, 3).requires_grad_(), draw(4, 3, seed=1)
    before = g.detach().clone(), w.clone(), torch.get_rng_state()
    with context():
        compare(w, g, g)
    assert torch.equal(g.detach(), before[0])
    assert torch.equal(w, before[1])
    assert g.grad is None
    assert torch.equal(torch.get_rng_state(), before[2])
