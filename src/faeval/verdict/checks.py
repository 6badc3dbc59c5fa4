"""The checks: pure functions from a method's numbers to a finding."""

import math
from dataclasses import dataclass
from typing import Literal

from faeval.stats.intervals import paired_t
from faeval.stats.nulls import Null, benjamini_hochberg, p_value
from faeval.verdict.method import Check, Finding, Method, Thresholds, layers_of

Severity = Literal["caution", "refuse"]


@dataclass(frozen=True)
class _Reporter:
    """Findings of one check on one method."""

    method: Method
    check: str
    severity: Severity

    def unmeasured(self, why: str) -> Finding:
        return Finding(
            self.method.name, self.check, "unmeasured", self.severity, None, None, why,
            "Not measured, so nothing can be concluded from it.",
        )  # fmt: skip

    def judged(
        self,
        passed: bool,
        value: float | None,
        threshold: float | None,
        evidence: str,
        consequence: str,
        severity: Severity | None = None,
    ) -> Finding:
        return Finding(
            self.method.name,
            self.check,
            "pass" if passed else "flag",
            severity or self.severity,
            value,
            threshold,
            evidence,
            consequence,
        )


def convergence(method: Method, thresholds: Thresholds) -> Finding:
    """Every seed ended with finite numbers."""
    report = _Reporter(method, "convergence", "refuse")
    diverged = [f"seed {run.seed} ({run.divergence})" for run in method.runs if run.divergence]
    return report.judged(
        not diverged,
        float(len(diverged)),
        0.0,
        f"diverged: {', '.join(diverged)}" if diverged else f"all {len(method.runs)} runs finite",
        "What remains is a selection of the seeds that survived."
        if diverged
        else "No seed is missing from the averages.",
    )


def scale_stability(method: Method, thresholds: Thresholds) -> Finding:
    """max_l ‖h_{l+1}‖/‖h_l‖ over blocks and seeds (arXiv 2606.21126, check a)."""
    report = _Reporter(method, "scale stability", "caution")
    ratios = [
        (after.state_norm / before.state_norm, after.state, run.seed)
        for run in method.completed
        for before, after in zip(run.layers, run.layers[1:], strict=False)
        if after.state_norm is not None and before.state_norm
    ]
    if not ratios:
        return report.unmeasured("no two neighbouring states with a finite norm")
    growth, state, seed = max(ratios)
    passed = growth <= thresholds.growth
    return report.judged(
        passed,
        growth,
        thresholds.growth,
        f"‖h‖ grows at most {_times(growth)} per block "
        f"(h{state}, seed {seed}; limit {thresholds.growth:g}×)",
        "The states stay on one scale."
        if passed
        else "One block outgrows all before it: later blocks see little of their input, and "
        "gradients through a terminal LayerNorm shrink by as much.",
    )


def reference_validity(method: Method, thresholds: Thresholds) -> Finding:
    """The float32 gradient agrees with a float64 recomputation, and cosines are defined.

    Replaces the published floor on ‖g_L‖ (check b), which depends on the batch size through
    the mean loss: that floor is told in the evidence and does not decide.
    """
    report = _Reporter(method, "reference validity", "refuse")
    if not method.completed or any(
        reading.reference_relative_error is None for _, reading in layers_of(method)
    ):
        return report.unmeasured("a state without a finite, non-zero reference gradient")
    error, worst, seed = max(
        (reading.reference_relative_error or 0.0, reading.state, run.seed)
        for run, reading in layers_of(method)
    )
    lost = max(reading.undefined / reading.samples for _, reading in layers_of(method))
    passed = error <= thresholds.reference_error and lost <= thresholds.undefined
    last = [run.layers[-1] for run in method.completed]
    smallest = min(reading.reference_norm_mean_loss or 0.0 for reading in last)
    side = "below" if smallest < thresholds.reference_floor else "above"
    return report.judged(
        passed,
        error,
        thresholds.reference_error,
        f"float32 gradient within {error:.1e} of float64 (median sample, worst at h{worst}, seed "
        f"{seed}); {lost:.1%} of samples undefined; mean-loss ‖g_L‖ {smallest:.1e} over "
        f"{last[0].samples} samples, {side} the published floor {thresholds.reference_floor:.0e}",
        "The cosines are real, zeros included."
        if passed
        else "The gradient is not measurable at this precision, and neither is a cosine with it.",
    )


def deep_credit(method: Method, thresholds: Thresholds) -> Finding:
    """At every state behind a block, the cosine stands above its null of fresh feedback.

    Under the null the mean over S seeds is N(0, Σ_s σ_s² / S²), σ_s the closed form of
    `stats.nulls`; one-sided p-values, corrected over states (Benjamini & Hochberg 1995).
    """
    report = _Reporter(method, "deep credit", "caution")
    if method.credit_is_gradient:
        return report.judged(
            True, 1.0, None, "the credit is the gradient, by construction", "Nothing to test."
        )
    deep = list(zip(*(run.layers[1:] for run in method.completed), strict=True))
    if not deep or any(
        r.cosine_mean is None or r.null is None or r.null.std is None for at in deep for r in at
    ):
        return report.unmeasured("no cosine or no null at some state")
    p_values, cosines = [], []
    for at in deep:
        mean = sum(r.cosine_mean or 0.0 for r in at) / len(at)
        std = math.sqrt(sum((r.null.std or 0.0) ** 2 for r in at if r.null)) / len(at)
        null = Null(mean=0.0, std=std, draws=None, method="closed form")
        p_values.append(p_value(mean, null, alternative="greater"))
        cosines.append(mean)
    adjusted = benjamini_hochberg(p_values)
    weak = [r[0].state for r, q in zip(deep, adjusted, strict=True) if not q < 1 - thresholds.level]
    profile = " ".join(f"{cosine:+.2f}" for cosine in cosines)
    worst = max(float(q) for q in adjusted)
    return report.judged(
        not weak,
        worst,
        1 - thresholds.level,
        f"cosines h1…h{len(deep)}: {profile}; "
        + (
            f"not above fresh feedback at {', '.join(f'h{l}' for l in weak)} (corrected p up to "
            f"{worst:.2g})"
            if weak
            else f"all above fresh feedback (corrected p ≤ {worst:.1g})"
        ),
        f"Blocks below {', '.join(f'h{l}' for l in weak)} are taught by a signal that is no better "
        "than chance; a layer mean would hide it."
        if weak
        else "Every block is taught along the gradient.",
    )


def depth_utility(method: Method, thresholds: Thresholds) -> Finding:
    """Accuracy over that of the frozen-blocks control of the same seed, paired
    (arXiv 2606.21126, check d): with several seeds the Student-t interval must clear the
    threshold too."""
    report = _Reporter(method, "depth utility", "refuse")
    paired = [run for run in method.completed if None not in (run.accuracy, run.control)]
    if not paired or len(paired) < len(method.completed):
        return report.unmeasured("a seed without a completed frozen-blocks control")
    gain = paired_t(
        [run.accuracy or 0.0 for run in paired],
        [run.control or 0.0 for run in paired],
        population="seeds",
        level=thresholds.level,
    )
    reached = gain.estimate >= thresholds.depth_gain
    sure = gain.low is None or gain.low >= thresholds.depth_gain
    spread = (
        "one seed, no interval"
        if gain.low is None or gain.high is None
        else f"{thresholds.level:.0%} over {gain.n} seeds: {_pp(gain.low)} to {_pp(gain.high)}"
    )
    if reached and sure:
        consequence = "The trained blocks earn their keep."
    elif reached:
        consequence = "The gain may be chance: its interval reaches below the limit. Add seeds."
    else:
        consequence = (
            "Training the blocks gains nothing worth the name over leaving them random: "
            "the accuracy is that of stem and head."
        )
    return report.judged(
        reached and sure,
        gain.estimate,
        thresholds.depth_gain,
        f"{_pp(gain.estimate)} over frozen blocks ({spread}; limit {_pp(thresholds.depth_gain)})",
        consequence,
        "caution" if reached else "refuse",
    )


CHECKS: tuple[Check, ...] = (
    convergence,
    scale_stability,
    reference_validity,
    deep_credit,
    depth_utility,
)


def _pp(fraction: float) -> str:
    return f"{100 * fraction:+.1f} pp"


def _times(ratio: float) -> str:
    return f"{ratio:.3g}×" if ratio < 1e4 else f"{ratio:.1e}×"
