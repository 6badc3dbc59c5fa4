"""Checks on the reference gradient: is it real, and does it depend on the data?"""

from faeval.core.reading import PrecisionReading, Reading
from faeval.verdict.finding import Finding, Reporter, percent, places
from faeval.verdict.method import Method, Run, Thresholds, layers_of


def reference_validity(method: Method, thresholds: Thresholds) -> Finding:
    """The working-precision gradient agrees with a float64 recomputation, and cosines with it
    are defined wherever the credit is not zero."""
    report = Reporter(method, "reference validity", "refuse")
    readings = list(layers_of(method))
    if not readings or any(r.reference_relative_error is None for _, r in readings):
        return report.unmeasured("some state has no finite, non-zero reference gradient")
    error, worst, seed = max(
        (r.reference_relative_error or 0.0, r.state, run.seed) for run, r in readings
    )
    lost = max((r.undefined - r.zero_credit) / r.samples for _, r in readings)
    return report.at_most(
        error,
        thresholds.reference_error,
        f"{_working(readings[0][1])} gradient within {error:.1e} of float64 (median sample, worst "
        f"at h{worst}, seed {seed}; limit {thresholds.reference_error:g}), {lost:.1%} of samples "
        f"undefined (limit {percent(thresholds.undefined)})",
        "The cosines are real, zeros included.",
        "The gradient cannot be measured at this precision, and neither can a cosine with it.",
        also=lost <= thresholds.undefined,
    )


def reference_floor(method: Method, thresholds: Thresholds) -> Finding:
    """‖g_L‖ of the mean loss against the published floor (arXiv 2606.21126, check b), and what
    the clamp of F.cosine_similarity makes of it. Depends on the batch size: never decides."""
    report = Reporter(method, "published floor", "note")
    last = [run.layers[-1] for run in method.completed if run.layers]
    known = [r for r in last if r.reference_norm_mean_loss is not None]
    if not known or len(known) < len(last):
        return report.unmeasured("no finite gradient at the last state")
    lowest = min(known, key=lambda r: r.reference_norm_mean_loss or 0.0)
    gaps = [
        (abs(r.cosine_mean - r.cosine_clamped), r, run)
        for run, r in layers_of(method)
        if r.cosine_mean is not None and r.cosine_clamped is not None
    ]
    clamp = _clamp(*max(gaps, key=lambda gap: gap[0])[1:]) if gaps else ""
    return report.at_least(
        lowest.reference_norm_mean_loss or 0.0,
        thresholds.reference_floor,
        f"mean-loss ‖g_L‖ is {lowest.reference_norm_mean_loss:.1e} for a batch of "
        f"{lowest.samples} (published floor {thresholds.reference_floor:.0e}, whatever the "
        f"batch){clamp}",
        "Common practice would have accepted the reference.",
        "Common practice would have called the reference noise; reference validity above says "
        "what it is.",
    )


def half_precision(method: Method, thresholds: Thresholds) -> Finding:
    """What the same gradients would be under autocast to 16 bits: reported, never decides."""
    report = Reporter(method, "half precision", "note")
    if method.credit_is_gradient:
        return report.settled(
            "the credit is the gradient, as declared", "There is no credit to read."
        )
    halves: list[tuple[PrecisionReading, Reading]] = [
        (p, r) for _, r in layers_of(method) for p in r.precisions[1:]
    ]
    if not halves:
        return report.unmeasured("no half precision was tried")
    changed = [(p, r) for p, r in halves if p.conclusion_changes]
    told = []
    for dtype in dict.fromkeys(p.dtype for p, _ in halves):
        bad = [(p, r) for p, r in changed if p.dtype == dtype]
        if not bad:
            continue
        p, r = max(bad, key=_damage)
        states = places(sorted({r.state for _, r in bad}))
        told.append(
            f"{dtype} without loss scaling changes the cosine at {states} (h{r.state}: "
            f"{_signed(p.cosine_reference)} to {_signed(p.cosine)}, {p.samples_lost} of "
            f"{p.samples} samples lost)"
        )
    return report.at_most(
        len(changed),
        0,
        "; ".join(told)
        if told
        else f"{', '.join(dict.fromkeys(p.dtype for p, _ in halves))} give the same cosines "
        "within 0.01",
        "The reference could have been read in half precision.",
        "A reading in that precision would have told something else.",
    )


def direction_drift(method: Method, thresholds: Thresholds) -> Finding:
    """The batch-mean gradient still depends on the batch (arXiv 2606.21126, check c).

    The published cosine between batch means grows with the batch size; its size-free twin,
    the coherence ‖E g‖²/E‖g‖², decides.
    """
    report = Reporter(method, "direction drift", "caution")
    readings = list(layers_of(method))
    drifts = [
        (r.direction.coherence, r.state, run.seed, r.direction)
        for run, r in readings
        if r.direction is not None and r.direction.coherence is not None
    ]
    if not drifts or len(drifts) < len(readings):
        return report.unmeasured("some state was not read over disjoint batches")
    coherence, state, seed, direction = max(drifts, key=lambda drift: drift[0])
    batches = f"{direction.batches} batches of {direction.batch_size}"
    return report.at_most(
        coherence,
        thresholds.drift,
        f"{max(coherence, 0.0):.0%} of the squared gradient is common to all samples at h{state} "
        f"(seed {seed}, the largest; limit {percent(thresholds.drift)}); means of {batches} have "
        f"cosine {direction.cosine or 0.0:+.2f}",
        "The gradient depends on the data.",
        "Every batch pulls the same way whatever it holds: the cosine measures agreement with a "
        "constant.",
    )


def _working(reading: Reading) -> str:
    return reading.precisions[0].dtype if reading.precisions else "working-precision"


def _damage(pair: tuple[PrecisionReading, Reading]) -> float:
    p, _ = pair
    gap = abs((p.cosine or 0.0) - (p.cosine_reference or 0.0))
    return p.samples_lost / p.samples + gap


def _signed(cosine: float | None) -> str:
    return "none" if cosine is None else f"{cosine:+.3f}"


def _clamp(reading: Reading, run: Run) -> str:
    return (
        f"; F.cosine_similarity on it reads {reading.cosine_clamped:+.3f} at h{reading.state} "
        f"(seed {run.seed}) where {reading.cosine_mean:+.3f} is true"
    )
