import math
import statistics
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from faeval.core.errors import InputError
from faeval.measurement import alignment as al

SHAPES = [(7,), (7, 5), (3, 4, 6), (2, 3, 4, 5), (1, 9), (0, 4)]
seeds = st.integers(0, 2**32)
exponents = st.integers(-120, 120)


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def exact_cosine(a, b):
    """Rational arithmetic up to the last square root."""
    a, b = ([Fraction(x) for x in v.flatten().tolist()] for v in (a, b))
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    square = dot**2 / (sum(x * x for x in a) * sum(y * y for y in b))
    return math.copysign(math.sqrt(square), dot)


@pytest.mark.parametrize("shape", SHAPES)
def test_cosine_and_norm_agree_with_rational_arithmetic(shape):
    a, b = draw(*shape), draw(*shape, seed=1)
    reading = al.cosine(a, b)
    assert reading.cosine.dtype == torch.float64
    assert (reading.zero, reading.non_finite, reading.undefined) == (0, 0, 0)
    expected = [exact_cosine(x, y) for x, y in zip(a, b, strict=True)]
    assert reading.cosine.tolist() == pytest.approx(expected, abs=1e-14)
    norms = [math.hypot(*x.flatten().tolist()) for x in a]
    assert al.norm(a).tolist() == pytest.approx(norms, rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@given(seed=seeds, p=exponents, q=exponents)
@settings(max_examples=10, deadline=None)
def test_powers_of_two_change_no_bit(dtype, seed, p, q):
    a, b = draw(4, 6, seed=seed, dtype=dtype), draw(4, 6, seed=seed + 1, dtype=dtype)
    expected = al.cosine(a, b).cosine
    scaled = a.double() * 2.0**p, b.double() * 2.0**q
    assert torch.equal(al.cosine(*scaled).cosine, expected)
    assert torch.equal(al.norm(scaled[0]), al.norm(a) * 2.0**p)
    assert torch.equal(al.ratio(*scaled), al.ratio(a, b) * 2.0 ** (p - q))


def test_float32_subnormals_are_ordinary_numbers():
    # Multiples of 2^-149, the smallest float32: exact, and squares are far out of range.
    a = torch.tensor([[3.0, -5.0, 1.0], [0.0, 7.0, 2.0]])
    b = torch.tensor([[1.0, 2.0, -2.0], [4.0, 1.0, 1.0]])
    tiny = a * 2.0**-149
    assert (tiny != 0).eq(a != 0).all()
    assert torch.equal(al.cosine(tiny, b * 2.0**120).cosine, al.cosine(a, b).cosine)
    assert torch.equal(al.norm(tiny), al.norm(a) * 2.0**-149)


@pytest.mark.parametrize("power", [-1074, -1060, -537, 1020])
def test_float64_to_the_ends_of_its_range(power):
    a, b = torch.tensor([[4.0, 2.0, -1.0]]).double(), torch.tensor([[1.0, 6.0, 3.0]]).double()
    scaled = torch.tensor([[math.ldexp(x, power) for x in a[0].tolist()]], dtype=torch.float64)
    assert torch.equal(al.cosine(scaled, b).cosine, al.cosine(a, b).cosine)
    assert al.ratio(scaled, scaled[:, [1, 0, 2]]).item() == 1


def test_ratio_beyond_the_range_leaves_it():
    a = torch.tensor([[2.0**1000, 0.0]], dtype=torch.float64)
    b = torch.tensor([[0.0, 2.0**-1000]], dtype=torch.float64)
    assert al.ratio(a, b).item() == math.inf
    assert al.ratio(b, a).item() == 0


@pytest.mark.parametrize("power", [-63, -65, 63, 65, 500])
def test_ordinary_lengths_are_no_special_case(power):
    """Within 2^±64 vectors are taken as they are; beside one that is not, none is."""
    a, b = draw(3, 5), draw(3, 5, seed=1)
    one_of_them = torch.tensor([[1.0], [2.0**power], [1.0]], dtype=torch.float64)
    for scaled in (a * 2.0**power, a * one_of_them):
        rows = al.prepared(scaled)
        assert torch.equal(rows.values * rows.scale, scaled)
        assert torch.equal(al.cosine(scaled, b).cosine, al.cosine(a, b).cosine)
        assert torch.equal(al.norm(scaled) / al.norm(a), al.ratio(scaled, a))


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_rotation_permutation_and_duplicates(seed):
    a, b = draw(6, 8, seed=seed), draw(6, 8, seed=seed + 1)
    expected = al.cosine(a, b).cosine
    rotation, _ = torch.linalg.qr(draw(8, 8, seed=seed + 2))
    torch.testing.assert_close(al.cosine(a @ rotation, b @ rotation).cosine, expected)
    torch.testing.assert_close(al.norm(a @ rotation), al.norm(a))
    pick = torch.tensor([3, 1, 1, 0, 5, 3, 2])
    torch.testing.assert_close(al.cosine(a[pick], b[pick]).cosine, expected[pick])
    one = al.cosine(a[2:3], b[2:3]).cosine
    torch.testing.assert_close(one, expected[2:3])


@given(seed=seeds, power=exponents)
@settings(max_examples=15, deadline=None)
def test_parallel_vectors_stay_within_one(seed, power):
    a = draw(5, 30, seed=seed)
    same = al.cosine(a, a * 3.0 * 2.0**power).cosine
    assert (same <= 1).all()
    assert (same > 1 - 1e-14).all()
    assert torch.equal(al.cosine(a, -a).cosine, -al.cosine(a, a).cosine)


@pytest.mark.parametrize("shape", [(3, 4, 6), (2, 3, 4, 5)])
def test_all_dimensions_of_a_sample_are_one_vector(shape):
    a, b = draw(*shape), draw(*shape, seed=1)
    flat = al.cosine(a.flatten(1), b.flatten(1)).cosine
    assert torch.equal(al.cosine(a, b).cosine, flat)
    turned = (x.transpose(1, -1) for x in (a, b))  # strides that no view can flatten
    torch.testing.assert_close(al.cosine(*turned).cosine, flat)
    torch.testing.assert_close(al.clamped_cosine(a, b), flat)


def test_what_has_no_direction_is_nan_and_counted_once():
    a, b = draw(7, 3), draw(7, 3, seed=1)
    a[0] = 0.0
    a[1, 2] = math.inf
    a[2, 0] = math.nan
    b[2] = 0.0  # non-finite wins
    b[3] = -0.0
    b[4, 1] = -math.inf
    a[5, 0], a[5, 1] = math.inf, math.nan
    reading = al.cosine(a, b)
    assert (reading.zero, reading.non_finite, reading.undefined) == (2, 4, 6)
    assert reading.cosine.isnan().tolist() == [True] * 6 + [False]
    assert torch.equal(reading.defined, reading.cosine[6:])
    assert al.norm(a).isnan().tolist() == [False, True, True, False, False, True, False]
    assert al.norm(a)[0] == 0
    ratios = al.ratio(a, b)
    assert ratios[0] == 0
    assert ratios[1:6].isnan().all()


def test_a_dead_sample_leaves_the_others_alone():
    a, b = draw(4, 3), draw(4, 3, seed=1)
    expected = al.cosine(a, b).cosine
    a[1] = math.nan
    a[2] = 0.0
    assert torch.equal(al.cosine(a, b).cosine[[0, 3]], expected[[0, 3]])


def test_rescaled_together_keeps_relative_sizes():
    sizes = torch.tensor([[1.0], [0.0], [2.0**-300], [2.0**-310]], dtype=torch.float64)
    a = draw(4, 3) * sizes
    a[0] = math.nan
    rows = al.rescaled_together(a)
    assert rows[0].isnan().all()
    assert 1 <= rows[1:].abs().max() < 2
    assert torch.equal(al.ratio(rows[2:3], rows[3:]), al.ratio(a[2:3], a[3:]))
    assert torch.equal(al.rescaled_together(torch.zeros(2, 3)), torch.zeros(2, 3).double())


def test_clamped_cosine_is_common_practice_and_shrinks_with_size():
    a, b = draw(5, 40, dtype=torch.float32), draw(5, 40, seed=1, dtype=torch.float32) + 1
    common = al.clamped_cosine(a, b)
    assert common.dtype == torch.float32
    assert torch.equal(common, F.cosine_similarity(a, b))
    torch.testing.assert_close(common.double(), al.cosine(a, b).cosine, atol=1e-6, rtol=0)
    small = 1e-10 * a
    assert (al.clamped_cosine(small, b).abs() < 0.2 * common.abs()).all()
    torch.testing.assert_close(
        al.cosine(small, b).cosine, al.cosine(a, b).cosine, atol=1e-6, rtol=0
    )


def test_summary_against_the_standard_library():
    values = draw(101)
    numbers = values.tolist()
    reading = al.summary(torch.cat([values, torch.tensor([math.nan, math.inf])]))
    assert (reading.count, reading.undefined) == (101, 2)
    assert reading.mean == pytest.approx(statistics.fmean(numbers), rel=1e-12)
    assert reading.std == pytest.approx(statistics.stdev(numbers), rel=1e-12)
    twentieths = statistics.quantiles(numbers, n=20, method="inclusive")
    got = [reading.q05, reading.q25, reading.median, reading.q75, reading.q95]
    assert got == pytest.approx([twentieths[i] for i in (0, 4, 9, 14, 18)], rel=1e-12)


def test_summary_of_few_and_of_extreme_values():
    nothing = al.summary(torch.tensor([math.nan, math.nan]))
    assert (nothing.count, nothing.undefined) == (0, 2)
    assert all(math.isnan(x) for x in (nothing.mean, nothing.std, nothing.q05, nothing.q95))
    assert al.summary(torch.empty(0)).undefined == 0
    one = al.summary(torch.tensor([3.0]))
    assert (one.mean, one.median, one.q05) == (3, 3, 3)
    assert math.isnan(one.std)
    huge = al.summary(torch.tensor([1e300, 3e300], dtype=torch.float64))
    assert huge.std == pytest.approx(math.sqrt(2) * 1e300)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_measuring_leaves_no_trace(context):
    a, b = draw(4, 6, dtype=torch.float32).requires_grad_(), draw(4, 6, seed=1)
    before = a.detach().clone(), b.clone(), torch.get_rng_state()
    with context():
        readings = [
            al.cosine(a, b).cosine, al.cosine(b, b).cosine, al.norm(a), al.norm(b), al.ratio(a, b),
            al.clamped_cosine(a, b), al.rescaled_together(b),
        ]  # fmt: skip
        al.summary(a)
    assert not any(x.requires_grad for x in readings)
    assert a.grad is None
    assert torch.equal(a.detach(), before[0])
    assert torch.equal(b, before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.ones(2, 3), torch.ones(2, 1)),
        (torch.ones(2, 0), torch.ones(2, 0)),
        (torch.tensor(1.0), torch.tensor(1.0)),
        (torch.ones(2, 3, dtype=torch.complex64), torch.ones(2, 3, dtype=torch.complex64)),
    ],
)
def test_what_cannot_be_compared_is_an_error(a, b):
    with pytest.raises(InputError):
        al.cosine(a, b)


def test_ratio_needs_the_same_samples_only():
    assert al.ratio(torch.ones(2, 4), torch.ones(2, 3, 3)).tolist() == [2 / 3, 2 / 3]
    with pytest.raises(InputError, match="samples"):
        al.ratio(torch.ones(2, 3), torch.ones(3, 3))
