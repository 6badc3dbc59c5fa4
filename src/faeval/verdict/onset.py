"""Time course: the epoch at which each flag first fires, seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from faeval.core.reading import Reading
from faeval.verdict.checks import (
    carried_mean,
    credit_by_construction,
    deep_credit,
    direction_drift,
    reference_floor,
    reference_validity,
    scale_stability,
)
from faeval.verdict.finding import Check, Finding
from faeval.verdict.method import Method, Run, Thresholds

_REFERENCE = ("reference validity", "published floor")

Course = Sequence[tuple[int, Sequence[Reading]]]
"""(epoch, its readings) in rising order."""

CHECKS: tuple[Check, ...] = (
    scale_stability,
    reference_validity,
    reference_floor,
    direction_drift,
    credit_by_construction,
    deep_credit,
    carried_mean,
)
"""The checks that need no more than the readings of one seed at one epoch."""


@dataclass(frozen=True)
class Onset:
    """First epoch at which a check flags, of those that were read from epoch 1 on (the credit of
    an untrained network is at chance, of course); None if it never does. `last` is the last epoch
    that was read, `still` whether it flags there."""

    seed: int
    check: str
    epoch: int | None
    last: int
    still: bool


def onsets(method: Method, courses: Mapping[int, Course], thresholds: Thresholds) -> list[Onset]:
    """For each seed of `courses` and each check, where it first flags."""
    found = []
    for seed, course in courses.items():
        trained = [(epoch, layers) for epoch, layers in course if epoch > 0]
        flagged: dict[str, list[int]] = {}
        for epoch, layers in trained:
            for finding in _findings(method, seed, layers, thresholds):
                epochs = flagged.setdefault(finding.check, [])
                if finding.status == "flag":
                    epochs.append(epoch)
        last = trained[-1][0] if trained else 0
        found += [
            Onset(seed, check, next(iter(epochs), None), last, last in epochs)
            for check, epochs in flagged.items()
        ]
    return found


def early_epochs(method: Method, courses: Mapping[int, Course], thresholds: Thresholds) -> Finding:
    """Whether the credit is lost because the reference is: of a deep credit at chance, the epoch
    of its onset against those of the published floor and of the measured reference error.

    Flags where the credit is at chance in an epoch whose reference was still far from any floor,
    and at the last one that was read: then it is absent, not hidden. Where it has come by then, it
    was never hidden.
    """
    name, check = method.name, "early epochs"
    found = onsets(method, courses, thresholds)
    if not found:
        return Finding(
            name, check, "unmeasured", "caution", None, None, None,
            "no epoch in training was read", "Not measured: nothing follows from it.",
        )  # fmt: skip
    seeds = list(dict.fromkeys(o.seed for o in found))
    at = {(o.seed, o.check): o.epoch for o in found}
    names = [c for c in dict.fromkeys(o.check for o in found) if any(at[s, c] for s in seeds)]
    told = "; ".join(
        f"{c} from epoch {', '.join(str(at[s, c] or 'never') for s in seeds)}" for c in names
    )
    last = max(o.last for o in found)
    evidence = (
        f"first flags by epoch {last}, for seed {', '.join(map(str, seeds))}: {told}"
        if names
        else f"no flag in any epoch up to {last}"
    )
    evidence += f"; {_norms(courses)}"
    before = [
        s
        for s in seeds
        if (lost := at.get((s, "deep credit")))
        and lost < min(at.get((s, c)) or last + 1 for c in _REFERENCE)
    ]
    lost = [o.seed for o in found if o.check == "deep credit" and o.epoch]
    still = [o.seed for o in found if o.check == "deep credit" and o.still]
    absent = [s for s in before if s in still]
    of_seeds = f"of {len(seeds)} seed{'s' * (len(seeds) != 1)}"
    if absent:
        return Finding(
            name, check, "flag", "caution", None, None, None, evidence,
            f"Some deep credit is at chance while the reference is sound, and still so after epoch "
            f"{last} ({len(absent)} {of_seeds}): it is absent, not hidden by a vanishing gradient.",
        )  # fmt: skip
    if lost and not still:
        return Finding(
            name, check, "pass", "caution", None, None, None, evidence,
            f"Some deep credit is at chance at first ({len(lost)} {of_seeds}), and every one beats "
            f"chance after epoch {last}: it comes with training.",
        )  # fmt: skip
    return Finding(
        name, check, "flag" if lost else "pass", "caution", None, None, None, evidence,
        "The deep credit is at chance only where the reference is flagged too: the readings "
        "before that decide."
        if lost
        else "The deep credit beats chance in every epoch that was read.",
    )  # fmt: skip


def _findings(
    method: Method, seed: int, layers: Sequence[Reading], thresholds: Thresholds
) -> list[Finding]:
    run = Run(seed, None, tuple(layers))
    one = replace(method, runs=(run,))
    return [check(one, thresholds) for check in CHECKS]


def _norms(courses: Mapping[int, Course]) -> str:
    """‖g_L‖ per sample and ‖h_L‖ over the epochs of the first seed."""
    course = next(iter(courses.values()))

    def number(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.1e}"

    rows = [
        f"{epoch}: {number(layers[-1].reference_norm)} and {number(layers[-1].state_norm)}"
        for epoch, layers in course
        if layers
    ]
    return f"‖g_L‖ and ‖h_L‖ after epoch {', '.join(rows)} (first seed)"
