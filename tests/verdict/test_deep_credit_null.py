"""Deep credit against chance itself, and its correction against a literal twin."""

import math

import pytest
import torch
from hand_made import DEFAULTS, method, reading
from hypothesis import given, settings
from hypothesis import strategies as st

from faeval.verdict.checks import deep_credit
from faeval.verdict.method import Run, Thresholds

quick = settings(deadline=None, max_examples=40, derandomize=True, database=None)


def with_cosines(cosines, stds):
    """cosines, stds: one row per seed, one column per deep state."""
    runs = []
    for seed, (row, spread) in enumerate(zip(cosines, stds, strict=True)):
        deep = [
            reading(l, cosine_mean=float(c), null_std=float(s))
            for l, (c, s) in enumerate(zip(row, spread, strict=True), 1)
        ]
        runs.append(Run(seed, 0.9, (reading(0), *deep), 0.5))
    return method(*runs)


def literal_q(p: list[float]) -> list[float]:
    """q_i = the least of m·p_j/rank_j over p_j ≥ p_i."""
    ranked = sorted(p)
    return [
        min([1.0, *(len(p) * w / rank for rank, w in enumerate(ranked, 1) if w >= v)]) for v in p
    ]


def literal_twin(cosines, stds) -> list[float]:
    """Corrected one-sided p-values of every deep state."""
    seeds = len(cosines)
    p = []
    for state in range(len(cosines[0])):
        z = sum(row[state] for row in cosines) / math.sqrt(sum(s[state] ** 2 for s in stds))
        assert seeds
        p.append(0.5 * math.erfc(z / math.sqrt(2)))
    return literal_q(p)


def passes(cosines, stds) -> bool:
    return deep_credit(with_cosines(cosines, stds), DEFAULTS).status == "pass"


@quick
@given(
    st.integers(1, 3).flatmap(
        lambda seeds: st.integers(1, 5).flatmap(
            lambda states: st.tuples(
                *(
                    st.lists(
                        st.lists(values, min_size=states, max_size=states),
                        min_size=seeds,
                        max_size=seeds,
                    )
                    for values in (st.floats(-0.3, 0.3), st.floats(0.01, 0.2))
                )
            )
        )
    )
)
def test_corrected_p_is_the_literal_one(numbers):
    cosines, stds = numbers
    expected = literal_twin(cosines, stds)
    finding = deep_credit(with_cosines(cosines, stds), DEFAULTS)
    assert finding.value == pytest.approx(max(expected), rel=1e-9)
    assert finding.threshold == pytest.approx(0.05)
    weak = [f"h{l}" for l, q in enumerate(expected, 1) if not q <= finding.threshold]
    assert finding.status == ("flag" if weak else "pass")
    if weak:
        assert f"at {', '.join(weak)} (" in finding.evidence


@pytest.mark.parametrize(("seeds", "level"), [(1, 0.95), (3, 0.95), (3, 0.8)])
def test_one_deep_state_of_chance_is_flagged_as_often_as_promised(seeds, level):
    """800 studies whose cosines come from the null: standard error 0.8 (1.4) points."""
    draw = torch.Generator().manual_seed(seeds)
    studies = 800
    stds = 0.01 + 0.05 * torch.rand(studies, seeds, 1, generator=draw, dtype=torch.float64)
    cosines = stds * torch.randn(studies, seeds, 1, generator=draw, dtype=torch.float64)
    thresholds = Thresholds(level=level)
    flagged = sum(
        deep_credit(with_cosines(c, s), thresholds).status == "flag"
        for c, s in zip(cosines.tolist(), stds.tolist(), strict=True)
    )
    assert flagged / studies == pytest.approx(level, abs=0.04)


def test_several_deep_states_of_chance_hardly_ever_pass():
    """All four states must stand out at once: far rarer than 5 %."""
    draw = torch.Generator().manual_seed(4)
    cosines = 0.03 * torch.randn(150, 3, 4, generator=draw, dtype=torch.float64)
    stds = [[0.03] * 4] * 3
    assert sum(passes(c, stds) for c in cosines.tolist()) <= 1


def test_strong_alignment_passes_always():
    draw = torch.Generator().manual_seed(5)
    cosines = 0.15 + 0.03 * torch.randn(150, 3, 4, generator=draw, dtype=torch.float64)
    stds = [[0.03] * 4] * 3
    assert all(passes(c, stds) for c in cosines.tolist())


def test_one_unaligned_state_is_not_hidden_by_a_good_mean():
    """The published mean of FA: cosine 1 at the last state, next to nothing elsewhere."""
    assert not passes([[0.0, 0.0, 0.0, 1.0]], [[0.03] * 4])
    assert not passes([[0.9, 0.9, -0.2, 0.9]], [[0.03] * 4])


def test_opposed_credit_is_flagged_however_strong():
    assert not passes([[-0.9, -0.9]], [[0.01, 0.01]])


def test_real_null_readings_are_flagged():
    """From tensors: credits of fresh feedback, read and judged like any other."""
    from faeval.measurement.reading import read_gaussian_null, read_state, sampled

    draw = torch.Generator().manual_seed(6)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    flagged, studies = 0, 80
    g = normal(48, 4) @ normal(4, 24)
    e = (2 * normal(48, 4)).softmax(1) - torch.eye(4, dtype=torch.float64)[torch.arange(48) % 4]
    for _ in range(studies):
        credit = e @ normal(4, 24)
        samples = sampled(h=g, credit=credit, exact=g, working=g.float(), batch=len(g))
        read = read_state(1, samples, null=read_gaussian_null(credit, g, e))
        one = method(Run(1, 0.9, (reading(0), read), 0.5))
        flagged += deep_credit(one, DEFAULTS).status == "flag"
    assert flagged / studies == pytest.approx(0.95, abs=0.07)
