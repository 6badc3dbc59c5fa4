"""Checks on the credit: is it the rule's own, does it beat chance, and who carries the mean?"""

import math

from faeval.core.reading import Reading
from faeval.stats import Null, benjamini_hochberg, p_value
from faeval.verdict.finding import Finding, Reporter, percent, places
from faeval.verdict.method import Method, Thresholds, states_of


def rule_active(method: Method, thresholds: Thresholds) -> Finding:
    """What the rule does to the parameters differs from what backpropagation would do."""
    report = Reporter(method, "rule active", "refuse")
    if method.credit_is_gradient:
        return report.settled(
            "trained by backpropagation, as declared", "There is no rule to test."
        )
    updates = [
        (r.update_cosine, r.state)
        for at in states_of(method)
        for r in at
        if r.update_cosine is not None
    ]
    kind = "update"
    if not updates:
        kind = "credit"
        updates = [
            (r.cosine_mean, r.state)
            for at in states_of(method)
            for r in at
            if r.cosine_mean is not None
        ]
    if not updates:
        return report.unmeasured("no update and no credit to compare")
    lowest, state = min(updates)
    return report.at_most(
        lowest,
        1 - thresholds.construction,
        f"the {kind} at h{state} has cosine {lowest:+.3f} with that of backpropagation, the lowest "
        "of all states",
        "The network was trained by its rule.",
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
        return report.unmeasured("some state has no cosine")
    same = [at[0].state for at in states if all(_is_reference(r, thresholds) for r in at)]
    others = [_mean(at) for at in states if at[0].state not in same]
    rest = f"; the mean without is {math.fsum(others) / len(others):+.3f}" if others else ""
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
    Monte-Carlo moments of `stats.nulls`; one-sided p-values, corrected over states (Benjamini
    & Hochberg 1995). A single seed keeps its own p-value (exact ranks for Monte Carlo).
    States whose credit is the reference by construction are left out.
    """
    report = Reporter(method, "deep credit", "caution")
    if method.credit_is_gradient:
        return report.settled("the credit is the gradient, as declared", "Nothing to test.")
    deep = [at for at in states_of(method)[1:] if not all(_is_reference(r, thresholds) for r in at)]
    if not deep or any(_untested(r) for at in deep for r in at):
        return report.unmeasured("some state behind a block has no cosine or no null")
    adjusted = [float(q) for q in benjamini_hochberg([_p(at) for at in deep])]
    alpha = 1 - thresholds.level
    weak = [at[0].state for at, q in zip(deep, adjusted, strict=True) if not q <= alpha]
    profile = " ".join(f"h{at[0].state} {_mean(at):+.2f}" for at in deep)
    spread = max(r.null.std or 0.0 for at in deep for r in at if r.null)
    worst = max(adjusted)
    return report.at_most(
        worst,
        alpha,
        f"cosines {profile}, where fresh feedback gives ±{spread:.3f} (one seed); "
        + (
            f"not above fresh feedback at {places(weak)} (corrected p up to {worst:.2g}, limit "
            f"{alpha:.2g})"
            if weak
            else f"all above fresh feedback (largest corrected p {worst:.2g}, limit {alpha:.2g})"
        ),
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
        return report.unmeasured("some state has no cosine")
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


def _is_reference(reading: Reading, thresholds: Thresholds) -> bool:
    quantiles = reading.cosine_quantiles
    return quantiles is not None and quantiles[0] >= 1 - thresholds.construction


def _untested(reading: Reading) -> bool:
    null = reading.null
    return reading.cosine_mean is None or null is None or null.p is None or null.std is None


def _p(at: tuple[Reading, ...]) -> float:
    """One-sided p-value of the mean over seeds."""
    nulls = [r.null for r in at if r.null is not None]
    if len(at) == 1:
        return nulls[0].p if nulls[0].p is not None else math.nan
    mean = math.fsum(n.mean or 0.0 for n in nulls) / len(nulls)
    std = math.sqrt(math.fsum((n.std or 0.0) ** 2 for n in nulls)) / len(nulls)
    null = Null(mean, std, None, nulls[0].method)
    return p_value(_mean(at), null, alternative="greater")


def _mean(at: tuple[Reading, ...]) -> float:
    return math.fsum(r.cosine_mean or 0.0 for r in at) / len(at)
