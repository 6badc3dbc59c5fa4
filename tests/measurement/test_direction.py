import math
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faeval.core.errors import InputError
from faeval.measurement.alignment import prepared
from faeval.measurement.direction import BatchMeans, direction_stability


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def stability(gradients, *, seed=5, **kwargs):
    return direction_stability(gradients, generator=torch.Generator().manual_seed(seed), **kwargs)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_literal_twin():
    g = draw(35, 4) + 0.5
    reading = stability(g, batches=8)
    order = torch.randperm(35, generator=torch.Generator().manual_seed(5)).tolist()[:32]
    rows = [g[i].tolist() for i in order]
    means = [[sum(c) / 4 for c in zip(*rows[k : k + 4], strict=True)] for k in range(0, 32, 4)]
    pairs = list(combinations(means, 2))
    cosines = [dot(a, b) / math.sqrt(dot(a, a) * dot(b, b)) for a, b in pairs]
    assert (reading.batches, reading.batch_size) == (8, 4)
    assert (reading.undefined, reading.excluded) == (0, 0)
    assert reading.mean == pytest.approx(sum(cosines) / 28, rel=1e-12)
    assert reading.minimum == pytest.approx(min(cosines), rel=1e-12)
    assert reading.maximum == pytest.approx(max(cosines), rel=1e-12)
    coherence = (sum(dot(a, b) for a, b in pairs) / 28) / (sum(dot(r, r) for r in rows) / 32)
    assert reading.coherence == pytest.approx(coherence, rel=1e-12)


def test_one_gradient_for_all_is_drift():
    reading = stability(draw(1, 3, 2).expand(40, 3, 2))
    values = reading.mean, reading.minimum, reading.maximum, reading.coherence
    assert values == pytest.approx((1, 1, 1, 1), abs=1e-12)


def test_no_common_part_reads_zero_and_a_known_one_its_formula():
    d, b, runs = 50, 16, 30
    mu = draw(d, seed=99) * 0.2
    share = (mu @ mu).item()
    noise = [stability(draw(8 * b, d, seed=s), seed=s) for s in range(runs)]
    assert sum(r.mean for r in noise) / runs == pytest.approx(0, abs=0.015)
    assert sum(r.coherence for r in noise) / runs == pytest.approx(0, abs=0.002)
    for size in (b, 4 * b):
        drift = [stability(draw(8 * size, d, seed=s) + mu, seed=s) for s in range(runs)]
        expected = share / (share + d / size)  # trace of the covariance: d
        assert sum(r.mean for r in drift) / runs == pytest.approx(expected, abs=0.03)
        batch_free = share / (share + d)
        assert sum(r.coherence for r in drift) / runs == pytest.approx(batch_free, abs=0.004)


def test_samples_centred_on_their_own_mean_read_below_zero():
    g = draw(400, 2000)
    assert stability(g - g.mean(0)).mean == pytest.approx(-1 / 7, abs=0.01)


@given(power=st.integers(-120, 120), seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_scale_and_rotation_play_no_part(power, seed):
    g = draw(20, 6, seed=seed)
    expected = stability(g)
    assert stability(g * 2.0 ** (8 * power)) == expected
    rotation, _ = torch.linalg.qr(draw(6, 6, seed=seed + 1))
    turned = stability(g @ rotation)
    assert turned.mean == pytest.approx(expected.mean, abs=1e-10)
    assert turned.coherence == pytest.approx(expected.coherence, abs=1e-10)
    assert stability(g.reshape(20, 2, 3)) == expected


def test_samples_that_are_not_finite_leave_their_place_to_the_next():
    g = draw(34, 3)
    g[0, 1], g[1] = math.inf, math.nan
    reading = stability(g)
    # 32 samples in the first 32 of 34 places, of which the split leaves out two others.
    order = torch.randperm(34, generator=torch.Generator().manual_seed(5)).tolist()[:32]
    groups = [[g[i + 2] for i in order[k : k + 4] if i < 32] for k in range(0, 32, 4)]
    means = [torch.stack(group).mean(0).tolist() for group in groups]
    pairs = list(combinations(means, 2))
    cosines = [dot(a, b) / math.sqrt(dot(a, a) * dot(b, b)) for a, b in pairs]
    assert (reading.excluded, reading.batch_size) == (2, min(map(len, groups)))
    assert reading.mean == pytest.approx(sum(cosines) / 28, rel=1e-12)
    used = [row for group in groups for row in group]
    square = sum(dot(r, r) for r in used) / len(used)
    coherence = sum(dot(a, b) for a, b in pairs) / 28 / float(square)
    assert reading.coherence == pytest.approx(coherence, rel=1e-12)
    g[:20] = math.nan
    lost = stability(g)
    assert (lost.excluded, lost.batch_size) == (20, 0)
    assert all(math.isnan(x) for x in (lost.mean, lost.minimum, lost.maximum, lost.coherence))


@pytest.mark.parametrize("chunk", [1, 7, 16])
@pytest.mark.parametrize("power", [0, 60, -60])
def test_chunks_read_as_the_whole(chunk, power):
    """Also where the common unit changes from chunk to chunk, and past dead samples."""
    g = draw(40, 5) * 2.0 ** (power * torch.arange(40, dtype=torch.float64) / 4).round()[:, None]
    g[3], g[9], g[20] = 0.0, math.nan, math.inf
    whole = stability(g, batches=4)
    gathered = BatchMeans(40, batches=4, generator=torch.Generator().manual_seed(5))
    for rows in g.split(chunk):
        gathered.add(prepared(rows))
    parts = gathered.stability()
    assert (parts.excluded, parts.batch_size) == (whole.excluded, whole.batch_size) == (2, 8)
    for name in ("mean", "minimum", "maximum", "coherence"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-9), name


def test_dead_samples_belong_to_their_batch():
    nothing = stability(torch.zeros(16, 3))
    assert nothing.undefined == 28
    assert all(math.isnan(x) for x in (nothing.mean, nothing.minimum, nothing.coherence))
    g = torch.zeros(16, 3)
    g[0] = 1.0
    assert stability(g).undefined == 28  # one live batch has no partner
    half = torch.cat([torch.zeros(40, 3), torch.ones(40, 3)])
    assert stability(half, batches=2).mean == pytest.approx(1)
    assert stability(half, batches=2).coherence < 0.6


@pytest.mark.parametrize(("samples", "batches"), [(15, 8), (100, 1), (3, 2), (0, 8)])
def test_too_few_samples_or_batches_are_told(samples, batches):
    with pytest.raises(InputError, match="samples"):
        stability(torch.ones(samples, 3), batches=batches)


def test_measuring_leaves_no_trace():
    g = draw(16, 3).requires_grad_()
    before, random = g.detach().clone(), torch.get_rng_state()
    with torch.no_grad():
        first = stability(g)
    assert first == stability(g)
    assert first != stability(g, seed=6)
    assert torch.equal(g.detach(), before)
    assert g.grad is None
    assert torch.equal(torch.get_rng_state(), random)
