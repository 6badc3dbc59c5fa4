"""Fresh-feedback control: the credit with the feedback of training against another draw."""

from faeval.stats import Interval, paired_t
from faeval.verdict.checks import deep_credit
from faeval.verdict.finding import Finding, percent, places
from faeval.verdict.method import Method, Thresholds


def fresh_feedback(name: str, trained: Method, fresh: Method, thresholds: Thresholds) -> Finding:
    """The cosine at every deep state with the feedback of training minus that with a fresh draw,
    paired by seed. Feedback that was never trained with must read as chance, and less than that
    of training does: otherwise the cosine is no sign of what training did to the network."""
    check = "fresh feedback"
    differences = _differences(trained, fresh, thresholds.level)
    if not differences:
        return Finding(
            name, check, "unmeasured", "caution", None, None, None,
            "no state was read with both feedbacks in one seed",
            "Not measured: nothing follows from it.",
        )  # fmt: skip
    told = ", ".join(
        f"h{state} {mine:+.2f} against {other:+.2f}" + _extent(difference)
        for state, mine, other, difference in differences
    )
    chance = deep_credit(fresh, thresholds)
    learned = [s for s, _, _, d in differences if d.low is not None and d.low > 0]
    evidence = f"cosine with the feedback of training against fresh feedback: {told}"
    if chance.status == "pass":
        return Finding(
            name, check, "flag", "refuse", None, None, None, evidence,
            "Feedback that the network has never met aligns too: the cosine says nothing of "
            "what training did.",
        )  # fmt: skip
    if len(learned) == len(differences):
        return Finding(
            name, check, "pass", "caution", None, None, None, evidence,
            "The alignment is with the feedback of training: the network has turned to it.",
        )  # fmt: skip
    missing = [s for s, *_ in differences if s not in learned]
    return Finding(
        name, check, "flag", "caution", None, None, None, evidence,
        f"At {places(missing)} the feedback of training is not clearly better than one never "
        "trained with.",
    )  # fmt: skip


def _differences(
    trained: Method, fresh: Method, level: float
) -> list[tuple[int, float, float, Interval]]:
    mine, other = _cosines(trained), _cosines(fresh)
    states = sorted({state for _, state in mine})
    found = []
    for state in states:
        seeds = [s for s, at in mine if at == state and (s, state) in other]
        if seeds:
            a, b = [mine[s, state] for s in seeds], [other[s, state] for s in seeds]
            difference = paired_t(a, b, population="seeds", level=level)
            found.append((state, sum(a) / len(a), sum(b) / len(b), difference))
    return found


def _cosines(method: Method) -> dict[tuple[int, int], float]:
    return {
        (run.seed, r.state): r.cosine_mean
        for run in method.completed
        for r in run.layers[1:]
        if r.cosine_mean is not None
    }


def _extent(difference: Interval) -> str:
    if difference.low is None or difference.high is None:
        return " (one seed, no interval)"
    over = f"{percent(difference.level)} over {difference.n} seeds"
    return f" ({over} {difference.low:+.2f} to {difference.high:+.2f})"
