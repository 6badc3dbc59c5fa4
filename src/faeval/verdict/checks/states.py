"""Checks on the states: did they stay finite, and on one scale?"""

from itertools import pairwise
from math import inf, isfinite

from faeval.core.reading import Reading
from faeval.verdict.finding import Finding, Reporter, times
from faeval.verdict.method import Method, Thresholds


def convergence(method: Method, thresholds: Thresholds) -> Finding:
    """Every seed ended with finite numbers."""
    diverged = [f"seed {run.seed} ({run.divergence})" for run in method.runs if run.divergence]
    return Reporter(method, "convergence", "refuse").at_most(
        len(diverged),
        0,
        f"diverged: {', '.join(diverged)}"
        if diverged
        else "every run that was recorded ended with finite numbers",
        "No run that was recorded is left out of the averages.",
        "What remains is a selection of the seeds that survived.",
    )


def scale_stability(method: Method, thresholds: Thresholds) -> Finding:
    """max_l ‖h_{l+1}‖/‖h_l‖ over blocks and seeds (arXiv 2606.21126, check a); growth since
    initialisation is told beside it."""
    report = Reporter(method, "scale stability", "caution")
    ratios = [
        (_ratio(after, before), after.state, run.seed)
        for run in method.completed
        for before, after in pairwise(run.layers)
    ]
    # A ratio that is missing or infinite may hide the very growth that is looked for.
    if not ratios or not all(isfinite(ratio) for ratio, _, _ in ratios):
        return report.unmeasured("some state has no finite norm, or follows one of norm zero")
    growth, state, seed = max(ratios)
    whole = max(_ratio(run.layers[-1], run.layers[0]) for run in method.completed)
    return report.at_most(
        growth,
        thresholds.growth,
        f"‖h‖ grows at most {times(growth)} per block (into h{state}, seed {seed}; limit "
        f"{thresholds.growth:g}×), {times(whole)} from first to last state{_since_start(method)}",
        "The states stay on one scale.",
        "One block outgrows all before it: later blocks add little to what they get, and the "
        "gradient behind a terminal LayerNorm shrinks by as much.",
    )


def _ratio(after: Reading, before: Reading) -> float:
    if after.state_norm is None or not before.state_norm:
        return inf
    return after.state_norm / before.state_norm


def _since_start(method: Method) -> str:
    """How far the state that grew most in training has grown, where that is known."""
    grown = [
        (reading.state_norm / reading.state_norm_initial, reading.state)
        for run in method.completed
        for reading in run.layers
        if reading.state_norm is not None and reading.state_norm_initial
    ]
    if not grown:
        return ""
    most, state = max(grown)
    return f", at most {times(most)} since initialisation (h{state})"
