"""Two studies of the same methods: what differs, by how much, and which verdicts changed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from faeval.stats import Interval, benjamini_hochberg, paired_t
from faeval.verdict.finding import Finding
from faeval.verdict.judge import Judgement, Level
from faeval.verdict.method import Method, Run


@dataclass(frozen=True)
class Difference:
    """A quantity of one method in the second study minus the first.

    quantity    `accuracy`, `gain` (over frozen blocks), or `cosine h_l` behind a block; for real
                targets `R²` and `gain in R²`, so that no accuracy is compared with them
    paired      by seed, over those that completed in both; else between the means of all
                (Welch 1947: variances may differ)
    difference  with its interval over seeds; None bounds where a side has one seed only
    p, q        two-sided p-value of no difference, and the same corrected over all differences
                of the comparison (Benjamini & Hochberg 1995); None without an interval
    """

    method: str
    quantity: str
    paired: bool
    first: float
    second: float
    difference: Interval
    p: float | None
    q: float | None = None


@dataclass(frozen=True)
class Turn:
    """A method whose verdict changed, with the checks that turned: before and after."""

    method: str
    first: Level
    second: Level
    findings: tuple[tuple[Finding, Finding], ...]


@dataclass(frozen=True)
class Comparison:
    """The second study against the first; `only_first` and `only_second` have no counterpart."""

    differences: tuple[Difference, ...]
    turns: tuple[Turn, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


def compare(first: Judgement, second: Judgement, level: float) -> Comparison:
    """Every method that both studies have, by name."""
    mine, theirs = ({m.name: m for m in judged.methods} for judged in (first, second))
    shared = [name for name in mine if name in theirs]
    found = [d for name in shared for d in _differences(mine[name], theirs[name], level)]
    adjusted = benjamini_hochberg([math.nan if d.p is None else d.p for d in found] or [math.nan])
    return Comparison(
        tuple(
            d if d.p is None else replace(d, q=float(q))
            for d, q in zip(found, adjusted, strict=False)
        ),
        tuple(_turns(first, second, shared)),
        tuple(name for name in mine if name not in theirs),
        tuple(name for name in theirs if name not in mine),
    )


def _differences(mine: Method, theirs: Method, level: float) -> Iterator[Difference]:
    first, second = _quantities(mine), _quantities(theirs)
    for quantity in (q for q in first if q in second):
        before, after = first[quantity], second[quantity]
        seeds = [seed for seed in before if seed in after]
        # Pairs of a few seeds would throw the others away.
        paired = len(seeds) == min(len(before), len(after))
        if paired:
            a, b = [after[s] for s in seeds], [before[s] for s in seeds]
            interval = paired_t(a, b, population="seeds", level=level)
            error, freedom = _paired_error(a, b)
        else:
            a, b = list(after.values()), list(before.values())
            error, freedom = _welch_error(a, b)
            interval = _welch(a, b, error, freedom, level)
        p = None if freedom is None else _two_sided(interval.estimate, error, freedom)
        yield Difference(mine.name, quantity, paired, _mean(b), _mean(a), interval, p)


def _quantities(method: Method) -> dict[str, dict[int, float]]:
    """By name, then by seed, in the order in which they are told."""
    found: dict[str, dict[int, float]] = {}
    for run in method.completed:
        for name, value in _of_run(run, method):
            found.setdefault(name, {})[run.seed] = value
    return found


def _of_run(run: Run, method: Method) -> Iterator[tuple[str, float]]:
    if run.accuracy is not None:
        yield method.score, run.accuracy
        if run.control is not None:
            gain = "gain" if method.score == "accuracy" else f"gain in {method.score}"
            yield gain, run.accuracy - run.control
    if not method.credit_is_gradient:
        for reading in run.layers[1:]:
            if reading.cosine_mean is not None:
                yield f"cosine h{reading.state}", reading.cosine_mean


def _turns(first: Judgement, second: Judgement, shared: Sequence[str]) -> Iterator[Turn]:
    before: dict[str, Level] = {v.method: v.verdict for v in first.verdicts}
    after: dict[str, Level] = {v.method: v.verdict for v in second.verdicts}
    for name in shared:
        if before[name] == after[name]:
            continue
        old: Mapping[str, Finding] = {f.check: f for f in first.findings_on(name)}
        pairs = [
            (old[f.check], f)
            for f in second.findings_on(name)
            if f.check in old
            and f.severity != "note"
            and (f.status, f.severity) != (old[f.check].status, old[f.check].severity)
        ]
        yield Turn(name, before[name], after[name], tuple(pairs))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    centre = _mean(values)
    return math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1)


def _paired_error(a: Sequence[float], b: Sequence[float]) -> tuple[float, float | None]:
    if len(a) < 2:
        return math.nan, None
    return math.sqrt(_variance([x - y for x, y in zip(a, b, strict=True)]) / len(a)), len(a) - 1


def _welch_error(a: Sequence[float], b: Sequence[float]) -> tuple[float, float | None]:
    """Standard error of the difference of two means, and its degrees of freedom
    (v_a + v_b)² / (v_a²/(n_a − 1) + v_b²/(n_b − 1)) with v = s²/n (Welch 1947)."""
    if len(a) < 2 or len(b) < 2:
        return math.nan, None
    va, vb = _variance(a) / len(a), _variance(b) / len(b)
    if va + vb == 0:
        return 0.0, len(a) + len(b) - 2
    spread = va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)
    return math.sqrt(va + vb), (va + vb) ** 2 / spread


def _welch(
    a: Sequence[float], b: Sequence[float], error: float, freedom: float | None, level: float
) -> Interval:
    from scipy.special import stdtrit

    estimate, n = _mean(a) - _mean(b), len(a) + len(b)
    if freedom is None:
        return Interval(estimate, None, None, level, "seeds", n, "none")
    half = float(stdtrit(freedom, 0.5 + level / 2)) * error
    return Interval(estimate, estimate - half, estimate + half, level, "seeds", n, "student-t")


def _two_sided(estimate: float, error: float, freedom: float) -> float:
    from scipy.special import stdtr

    if error == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * stdtr(freedom, -abs(estimate / error)))
