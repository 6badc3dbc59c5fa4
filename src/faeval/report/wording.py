"""How a number is written, everywhere: the terminal, the report and the paper's tables."""

from faeval.core import html
from faeval.core.html import NONE
from faeval.core.html import signed as signed
from faeval.core.score import Score, difference
from faeval.stats.intervals import Interval
from faeval.verdict.method import Method


def accuracy(interval: Interval | None) -> str:
    """A fraction of right answers, or R²: `0.914`."""
    return NONE if interval is None else f"{interval.estimate:.3f}"


def gain(interval: Interval | None, score: Score) -> str:
    """A difference of scores: `+2.0 pp`, or `+0.020` of R²."""
    return NONE if interval is None else difference(interval.estimate, score)


def extent(interval: Interval | None, *, signed: bool = True) -> str:
    """The bounds of an interval: `-0.04 to +0.43`; nothing where there is none."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    form = "+.2f" if signed else ".3f"
    return f"{interval.low:{form}} to {interval.high:{form}}"


def gain_extent(interval: Interval | None, score: Score) -> str:
    """The bounds of a difference of scores, in its unit: `+0.5 to +1.3`."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    low, high = (difference(end, score) for end in (interval.low, interval.high))
    return f"{low} to {high}".replace(" pp", "")


def magnitude(value: float | None) -> str:
    """A positive number of any size: `2.02`, `1.7e-06`."""
    return "" if value is None else html.magnitude(value)


def spread(value: float | None, digits: int) -> str:
    """A standard deviation: `±0.06`."""
    return "" if value is None else f"±{value:.{digits}f}"


def chance(mean: float | None, std: float | None) -> str:
    """The cosines of fresh feedback: `±0.020` about 0, or `+0.93 ±0.000` about another mean."""
    if std is None:
        return ""
    off = mean is not None and abs(mean) > max(2 * std, 0.005)
    return f"{f'{mean:+.2f} ' if off else ''}{spread(std, 3)}"


def value(number: float | None) -> str:
    """What a check found: `54`, `1.7e-06`."""
    return NONE if number is None else f"{number:.2g}"


def limit(number: float | None) -> str:
    """What it was compared with: `50`, `0.001`."""
    return NONE if number is None else f"{number:g}"


def seeds(method: Method) -> str:
    """`3 seeds`, or `2 of 3 seeds` where one diverged."""
    all_, left = len(method.runs), len(method.completed)
    noun = "seed" if all_ == 1 else "seeds"
    return f"{all_} {noun}" if left == all_ else f"{left} of {all_} {noun}"
