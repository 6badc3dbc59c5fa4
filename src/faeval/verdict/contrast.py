"""What the penalty changed: the credit at each state with and without it, paired by seed."""

from collections.abc import Sequence
from dataclasses import dataclass

from faeval.stats.intervals import Interval, paired_t
from faeval.verdict.method import Method


@dataclass(frozen=True)
class Contrast:
    """Cosine at state h_l with the penalty minus without, over the seeds both completed."""

    rule: str
    penalty: float
    state: int
    without: float
    with_penalty: float
    difference: Interval

    @property
    def clear(self) -> bool:
        """Whether the interval over seeds excludes zero; False for a single seed."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and (low > 0 or high < 0)


def penalty_contrasts(methods: Sequence[Method], level: float) -> tuple[Contrast, ...]:
    """One contrast for each penalised method, and each state behind a block, whose rule ran
    without penalty too. Rules whose credit is the gradient have nothing to compare."""
    plain = {m.rule: m for m in methods if m.penalty == 0 and not m.credit_is_gradient}
    return tuple(
        contrast
        for method in methods
        if method.penalty > 0 and method.rule in plain
        for contrast in _contrasts(plain[method.rule], method, level)
    )


def _contrasts(plain: Method, penalised: Method, level: float) -> list[Contrast]:
    before, after = (_deep_cosines(m) for m in (plain, penalised))
    seeds = [seed for seed in before if seed in after]
    if not seeds:
        return []
    contrasts = []
    for state in sorted(set.intersection(*(set(c[s]) for c in (before, after) for s in seeds))):
        a = [after[seed][state] for seed in seeds]
        b = [before[seed][state] for seed in seeds]
        difference = paired_t(a, b, population="seeds", level=level)
        contrasts.append(
            Contrast(
                penalised.rule,
                penalised.penalty,
                state,
                sum(b) / len(b),
                sum(a) / len(a),
                difference,
            )
        )
    return contrasts


def _deep_cosines(method: Method) -> dict[int, dict[int, float]]:
    return {
        run.seed: {r.state: r.cosine_mean for r in run.layers[1:] if r.cosine_mean is not None}
        for run in method.completed
    }
