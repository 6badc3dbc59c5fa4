"""Does a conclusion hang on the learning rate? A method and its frozen blocks at many rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faeval.core.score import Score, difference
from faeval.core.trial import shortest
from faeval.stats import Interval, paired_t
from faeval.verdict.finding import Finding, Status, percent
from faeval.verdict.method import Method, Thresholds


@dataclass(frozen=True)
class RateCurve:
    """What a method reached at each learning rate, on validation data.

    accuracies, controls  of the method and of its frozen blocks: for each rate, by seed; without
                          the seeds that diverged
    best, best_control    the rate chosen for each; None where no rate let every seed complete
    score                 what the accuracies are, as in `Method`
    """

    rule: str
    penalty: float
    rates: tuple[float, ...]
    accuracies: tuple[Mapping[int, float], ...]
    controls: tuple[Mapping[int, float], ...]
    best: float | None
    best_control: float | None
    score: Score = "accuracy"

    @property
    def name(self) -> str:
        """That of the method."""
        return Method(self.rule, self.penalty, ()).name

    def gains(self, level: float) -> list[tuple[float, Interval]]:
        """Accuracy over frozen blocks at the same rate, paired by seed, where both completed."""
        found = []
        for rate, own, control in zip(self.rates, self.accuracies, self.controls, strict=True):
            seeds = [seed for seed in own if seed in control]
            if seeds:
                pairs = [own[s] for s in seeds], [control[s] for s in seeds]
                found.append((rate, paired_t(*pairs, population="seeds", level=level)))
        return found


def best_rate(
    rates: Sequence[float], accuracies: Sequence[Mapping[int, float]], seeds: Sequence[int]
) -> float | None:
    """The rate with the best mean accuracy among those at which all of `seeds` completed; the
    smallest of equals, None if there is none."""
    means = [
        (sum(by_seed[s] for s in seeds) / len(seeds), -rate)
        for rate, by_seed in zip(rates, accuracies, strict=True)
        if all(s in by_seed for s in seeds)
    ]
    return -max(means)[1] if means else None


def learning_rate_dependence(
    curve: RateCurve, final: Method | None, thresholds: Thresholds
) -> Finding:
    """Whether a method stands above its frozen blocks at some learning rates and below them at
    others; `final` are its runs on the test data, each side at its own best rate.

    Above and below mean an interval over seeds that excludes zero; with one seed, a difference
    of at least `depth_gain`.
    """
    gains = curve.gains(thresholds.level)
    if not gains or final is None:
        return _finding(
            curve, "unmeasured", "no learning rate let every seed complete, with and without "
            "frozen blocks", "Not measured: nothing follows from it."
        )  # fmt: skip
    by_rate = {rate: side(gain, thresholds) for rate, gain in gains}
    told = ", ".join(f"{shortest(rate)}: {spread(gain, curve.score)}" for rate, gain in gains)
    evidence = [f"over frozen blocks at the same rate, on validation data: {told}"]
    paired = final.paired
    matched = "undecided"
    if paired:
        gain = paired_t(*zip(*paired, strict=True), population="seeds", level=thresholds.level)
        matched = side(gain, thresholds)
        evidence.append(
            f"each at its own best rate ({_chosen(curve.best, curve.rates)}; frozen blocks "
            f"{_chosen(curve.best_control, curve.rates)}), on the test data: "
            f"{spread(gain, final.score)}"
        )
    sides = {*by_rate.values()}
    if {"above", "below"} <= sides:
        return _finding(
            curve, "flag", "; ".join(evidence),
            "Whether it stands above or below its frozen blocks depends on the learning rate: a "
            f"comparison at one rate proves nothing. At matched tuning it is {_words(matched)}.",
        )  # fmt: skip
    other = sorted(sides - {matched, "undecided"})
    if other and matched != "undecided":
        return _finding(
            curve, "flag", "; ".join(evidence),
            f"At one rate for both it is {_words(other[0])}, at matched tuning {_words(matched)}.",
        )  # fmt: skip
    return _finding(
        curve, "pass", "; ".join(evidence),
        f"No learning rate tells the opposite. At matched tuning it is {_words(matched)}.",
    )  # fmt: skip


def side(gain: Interval, thresholds: Thresholds) -> str:
    """`above`, `below`, or `undecided`."""
    if gain.low is None or gain.high is None:
        low = high = gain.estimate
        margin = thresholds.depth_gain
    else:
        low, high, margin = gain.low, gain.high, 0.0
    if low > 0 and low >= margin:
        return "above"
    return "below" if high < 0 and high <= -margin else "undecided"


def spread(gain: Interval, score: Score) -> str:
    """A difference of scores with its interval over seeds."""
    return f"{difference(gain.estimate, score)} ({over_seeds(gain, score)})"


def over_seeds(gain: Interval, score: Score) -> str:
    """The interval over seeds of a difference of scores, or that there is none."""
    if gain.low is None or gain.high is None:
        return "one seed, no interval"
    low, high = difference(gain.low, score), difference(gain.high, score)
    return f"{percent(gain.level)} over {gain.n} seeds {low} to {high}"


def _words(side: str) -> str:
    return {
        "above": "above its frozen blocks",
        "below": "below its frozen blocks",
        "undecided": "not clearly on either side of its frozen blocks",
    }[side]


def _chosen(rate: float | None, rates: Sequence[float]) -> str:
    if rate is None:
        return "none"
    edge = {max(rates): ", the largest tried", min(rates): ", the smallest tried"}.get(rate, "")
    return shortest(rate) + edge


def _finding(curve: RateCurve, status: Status, evidence: str, consequence: str) -> Finding:
    return Finding(
        curve.name, "learning rate", status, "caution", None, None, None, evidence, consequence
    )
