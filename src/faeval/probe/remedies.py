"""What `measure` was not given, told as the argument that would mend it."""

from collections.abc import Sequence
from dataclasses import replace

from faeval.core.reading import Reading
from faeval.probe.states import few
from faeval.verdict.finding import Finding

Seed = tuple[float | None, float | None]
"""Accuracy, and that of the frozen-blocks control."""


def mendable(
    finding: Finding, states: Sequence[str], readings: Sequence[Reading], runs: Sequence[Seed]
) -> Finding:
    """The finding; where it is unmeasured for want of an argument, the evidence names that."""
    if finding.status != "unmeasured":
        return finding
    why = ""
    if finding.check == "depth utility":
        why = _depth(runs)
    elif finding.check == "deep credit":
        why = _deep_credit(states, readings)
    return replace(finding, evidence=why) if why else finding


def _depth(runs: Sequence[Seed]) -> str:
    given = {"accuracy": runs[0][0], "control": runs[0][1]}
    missing = [name for name, value in given.items() if value is None]
    if not missing:
        return ""
    of = {
        "accuracy": "the accuracy of this network",
        "control": "that of the same network trained with frozen hidden layers",
    }
    told = " and ".join(f"{name}= ({of[name]})" for name in missing)
    return f"nothing to compare: give {told}"


def _deep_credit(states: Sequence[str], readings: Sequence[Reading]) -> str:
    deep = list(zip(states, readings, strict=True))[1:]
    # A zero credit, or a state of one batch only, is told by the check itself.
    if not deep or any(r.cosine_mean is None and r.zero_credit for _, r in deep):
        return ""
    silent = [f"h{r.state} {name}" for name, r in deep if r.cosine_mean is None]
    if silent:
        return f"no cosine at {few(silent)}: credit or gradient is zero or not finite there"
    without = [f"h{r.state} {name}" for name, r in deep if r.null is None]
    if without:
        return f"no null at {few(without)}: give null=, or let its draws have a cosine there"
    return ""
