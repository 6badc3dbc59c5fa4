"""Checks on the credit: is it the rule's own, does it beat chance, and who carries the mean?"""

import math
from collections.abc import Sequence
from typing import Literal

from faeval.core.reading import Reading
from faeval.stats import Null, benjamini_hochberg, p_value
from faeval.verdict.finding import Finding, Reporter, percent, places
from faeval.verdict.method import Method, Thresholds, states_of, without_credit

_BY_ITS_RULE = "The network was trained by its rule."
_NOT_THE_GRADIENT = "The credit is not the gradient."


def rule_active(method: Method, thresholds: Thresholds) -> Finding:
    """What the rule does to the parameters is what it says, and not what backpropagation does.

    The update of every stage is its own closed form (`Reading.update_error`), and at some stage
    another than backpropagation's. Where no update was read, the credits must do for the latter.
    """
    report = Reporter(method, "rule active", "refuse")
    if method.credit_is_gradient:
        return report.settled(
            "trained by backpropagation, as declared", "There is no rule to test."
        )
    readings = [r for at in states_of(method) for r in at]
    if not readings:
        return report.unmeasured("no update and no credit to compare")
    kind = "update"
    cosines = [(r.update_cosine, r.state) for r in readings if r.update_cosine is not None]
    if not cosines:
        kind = "credit"
        cosines = [(_with_any(r), r.state) for r in readings if r.cosine_mean is not None]
    if any(r.update_error is None and r.update_cosine is not None for r in readings):
        return report.unmeasured("some update has no finite distance from its closed form")
    errors = [(r.update_error, r.state) for r in readings if r.update_error is not None]
    error, off = max(errors, default=(0.0, 0))
    limit = f"(limit {thresholds.update_error:g}){_taught(method)}"
    if error > thresholds.update_error:
        return report.at_most(
            error,
            thresholds.update_error,
            f"the update into h{off} is {error:.1e} from its closed form {limit}",
            "",
            "Something else than the rule reaches the parameters: its accuracy is not the rule's.",
        )
    matched = f"every update within {error:.1e} of its closed form {limit}" if errors else ""
    zero = without_credit(method)
    lowest, state = min(cosines, default=(math.inf, 0))
    if zero and lowest > 1 - thresholds.construction:
        told = f"the credit is zero at {places(zero)}, where backpropagation has a gradient"
        return report.settled(
            "; ".join(filter(None, (told, matched))),
            _BY_ITS_RULE if errors else _NOT_THE_GRADIENT,
        )
    if not cosines:
        return report.unmeasured("no update and no credit to compare")
    told = (
        f"the {kind} at h{state} has cosine {lowest:+.3f} with that of backpropagation, the lowest "
        "of all states"
    )
    if method.estimates_gradient:
        return report.settled(
            "; ".join(filter(None, (told, matched))),
            "The rule estimates the gradient from all weights, as declared: it may come to it.",
        )
    return report.at_most(
        lowest,
        1 - thresholds.construction,
        "; ".join(filter(None, (told, matched))),
        _BY_ITS_RULE if kind == "update" else _NOT_THE_GRADIENT,
        "The rule is backpropagation in disguise: its accuracy and cosines say nothing of it.",
    )


def credit_by_construction(method: Method, thresholds: Thresholds) -> Finding:
    """No state's credit is the reference itself, where a cosine of 1 would be no evidence."""
    report = Reporter(method, "independent credit", "caution")
    if method.credit_is_gradient:
        return report.settled(
            "the credit is the gradient, as declared", "Its cosine is no evidence."
        )
    states = states_of(method)
    if not states or any(r.cosine_quantiles is None for at in states for r in at):
        return report.unmeasured(_no_cosine(method))
    same = [at[0].state for at in states if all(_is_reference(r, thresholds) for r in at)]
    others = [_mean(at) for at in states if at[0].state not in same]
    rest = f"; the mean without is {math.fsum(others) / len(others):+.3f}" if others else ""
    if method.estimates_gradient:
        told = f"the credit comes to the reference at {places(same)}" if same else "none does"
        return report.settled(told, "The rule estimates the gradient from all weights: it may.")
    return report.at_most(
        len(same),
        0,
        f"the credit is the reference at {places(same)}{rest}"
        if same
        else "no state's credit is the reference by construction",
        "Every cosine is evidence.",
        f"The cosine of 1 at {places(same)} is built in: leave it out of every mean.",
    )


def deep_credit(method: Method, thresholds: Thresholds) -> Finding:
    """At every state behind a block, the cosine stands above its null of fresh feedback.

    Under the null the mean over S seeds is N(μ, Σ_s σ_s² / S²), with the closed form or the
    Monte-Carlo moments of `stats`; one-sided p-values, corrected over states (Benjamini &
    Hochberg 1995). A single seed keeps its own p-value (exact ranks for Monte Carlo). States
    whose credit is the reference by construction are left out (where the rule estimates the
    gradient, it is not by construction). One fresh draw of feedback, by
    the same test, is told beside it.

    A rule that draws no feedback has no such null: chance then enters through the images alone,
    and the interval over them must lie above 0.
    """
    report = Reporter(method, "deep credit", "caution")
    if method.credit_is_gradient:
        return report.settled("the credit is the gradient, as declared", "Nothing to test.")
    deep = [
        at
        for at in states_of(method)[1:]
        if method.estimates_gradient or not all(_is_reference(r, thresholds) for r in at)
    ]
    if not deep or any(_untested(r) for at in deep for r in at):
        if without_credit(method):
            return report.unmeasured(_no_cosine(method))
        if method.feedback == "none" and deep:
            return _over_images(report, deep)
        return report.unmeasured("some state behind a block has no cosine or no null")
    adjusted = _corrected(deep, "observed", "p")
    alpha = round(1 - thresholds.level, 12)  # 0.05, not 0.050000000000000044
    weak = [at[0].state for at, q in zip(deep, adjusted, strict=True) if not q <= alpha]
    profile = _profile(deep)
    worst = max(adjusted)
    return report.at_most(
        worst,
        alpha,
        f"cosines {profile}, where fresh feedback gives {_chance(deep)} (one seed); "
        + (
            f"not above fresh feedback at {places(weak)} (corrected p up to {worst:.2g}, limit "
            f"{alpha:.2g})"
            if weak
            else f"all above fresh feedback (largest corrected p {worst:.2g}, limit {alpha:.2g})"
        )
        + _one_draw(deep, alpha),
        "Every block is taught along the gradient.",
        f"At {places(weak)} the credit is no better than chance, which a layer mean would hide.",
    )


def carried_mean(method: Method, thresholds: Thresholds) -> Finding:
    """No single state accounts for most of the layer mean of the cosine."""
    report = Reporter(method, "layer mean", "caution")
    if method.credit_is_gradient:
        return report.settled("the credit is the gradient, as declared", "Nothing to average.")
    states = states_of(method)
    if not states:
        return report.unmeasured("no state was read")
    if len(states) < 3:
        return report.settled(f"{len(states)} states", "Too few for a mean to hide one.")
    if any(r.cosine_mean is None for at in states for r in at):
        return report.unmeasured(_no_cosine(method))
    cosines = [_mean(at) for at in states]
    total = math.fsum(abs(c) for c in cosines)
    if not total:
        return report.unmeasured("every cosine is zero")
    share, place = max((abs(c) / total, i) for i, c in enumerate(cosines))
    mean = math.fsum(cosines) / len(cosines)
    rest = math.fsum(c for i, c in enumerate(cosines) if i != place) / (len(cosines) - 1)
    return report.at_most(
        share,
        thresholds.mean_share,
        f"h{place} holds {share:.0%} of the layer mean {mean:+.3f} (limit "
        f"{percent(thresholds.mean_share)}); without it the mean is {rest:+.3f}",
        "The layer mean is not one state's.",
        f"The layer mean speaks of h{place} alone: quote the layers.",
    )


def _over_images(report: Reporter, deep: Sequence[tuple[Reading, ...]]) -> Finding:
    """Deep credit of a rule without feedback, by the intervals over images."""
    bounds = [(r.cosine_low, r.state) for at in deep for r in at]
    known = [(low, state) for low, state in bounds if low is not None]
    if len(known) < len(bounds):
        return report.unmeasured("some state behind a block has no interval over images")
    lowest, state = min(known)
    return report.at_least(
        lowest,
        0.0,
        f"cosines {_profile(deep)}, over images at least {lowest:+.3f} (at h{state}); the rule "
        "draws no feedback that could agree by chance",
        "Every block is taught along the gradient.",
        f"At h{state} the credit does not point along the gradient.",
        also=lowest > 0,
    )


def _profile(deep: Sequence[tuple[Reading, ...]]) -> str:
    return " ".join(f"h{at[0].state} {_mean(at):+.2f}" for at in deep)


def _chance(deep: Sequence[tuple[Reading, ...]]) -> str:
    """The null at all these states: its spread, and its means where they are not 0, as for
    feedback that residual paths bypass."""
    nulls = [r.null for at in deep for r in at if r.null]
    spread = max(null.std or 0.0 for null in nulls)
    means = [null.mean or 0.0 for null in nulls]
    if max(map(abs, means)) <= 2 * spread:
        return f"±{spread:.3f}"
    return f"{min(means):+.2f} to {max(means):+.2f} ±{spread:.3f}"


def _is_reference(reading: Reading, thresholds: Thresholds) -> bool:
    quantiles = reading.cosine_quantiles
    return quantiles is not None and (
        max(quantiles[0], _with_working(reading)) >= 1 - thresholds.construction
    )


def _with_working(reading: Reading) -> float:
    """Cosine of the credit with the gradient in working precision: 1 where the credit is that
    gradient, even if its own rounding, as in samples that are classified for certain, leaves
    little of the agreement with float64."""
    working = reading.precisions[0].cosine if reading.precisions else None
    return -1.0 if working is None else working


def _with_any(reading: Reading) -> float:
    return max(reading.cosine_mean or -1.0, _with_working(reading))


def _untested(reading: Reading) -> bool:
    null = reading.null
    return reading.cosine_mean is None or null is None or null.p is None or null.std is None


def _no_cosine(method: Method) -> str:
    zero = without_credit(method)
    if not zero:
        return "some state has no cosine"
    return f"there is no cosine where the credit is zero, at {places(zero)}"


def _one_draw(deep: Sequence[tuple[Reading, ...]], alpha: float) -> str:
    """What one fresh draw of feedback reads at the same states: chance, if the null is right."""
    if any(
        r.null is None or r.null.fresh is None or r.null.fresh_p is None for at in deep for r in at
    ):
        return ""
    least = min(_corrected(deep, "fresh", "fresh_p"))
    does = "does not stand" if least > alpha else "stands"
    return f"; one fresh draw {does} above it (smallest corrected p {least:.2g})"


def _corrected(
    states: Sequence[tuple[Reading, ...]],
    value: Literal["observed", "fresh"],
    p: Literal["p", "fresh_p"],
) -> list[float]:
    """One-sided p-values of the mean over seeds, corrected over states; of a null's fields."""
    single = []
    for at in states:
        nulls = [r.null for r in at if r.null is not None]
        if len(nulls) == 1:
            alone = getattr(nulls[0], p)
            single.append(math.nan if alone is None else alone)
            continue
        n = len(nulls)
        mean = math.fsum(null.mean or 0.0 for null in nulls) / n
        std = math.sqrt(math.fsum((null.std or 0.0) ** 2 for null in nulls)) / n
        observed = math.fsum(getattr(null, value) or 0.0 for null in nulls) / n
        pooled = Null(mean, std, None, nulls[0].method)
        single.append(p_value(observed, pooled, alternative="greater"))
    return [float(q) for q in benjamini_hochberg(single)]


def _taught(method: Method) -> str:
    """Which signal trains which parameters, in words; nothing where that is unknown."""
    at = {"output": "its output", "input": "its input"}.get(method.credit_at, "a")
    told = {
        "block": f"; each block learns from the credit of {at} state by exact transposes inside, "
        "the head from the error",
        "layer": "; every layer learns from what the rule's own transposes hand to it",
        "none": "; every layer learns from what exact transposes hand to it",
    }.get(method.granularity, "")
    if told and method.transports_weights:
        told += f" (forward weights that the signal reads: {method.transports_weights})"
    return told


def _mean(at: tuple[Reading, ...]) -> float:
    return math.fsum(r.cosine_mean or 0.0 for r in at) / len(at)
