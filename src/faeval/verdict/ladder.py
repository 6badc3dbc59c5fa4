"""Depth ladder: what each further trainable block adds (arXiv 2606.21126)."""

from collections.abc import Sequence

from faeval.core.score import difference
from faeval.stats import Interval, paired_t
from faeval.verdict.finding import Finding
from faeval.verdict.method import Method, Thresholds
from faeval.verdict.rates import side, spread


def depth_ladder(name: str, rungs: Sequence[tuple[int, Method]], thresholds: Thresholds) -> Finding:
    """Accuracy with the last k blocks trained, for every k; the rung with all of them must stand
    clearly above that with none and above or beside every other, paired by seed.

    `rungs` are (k, method) in rising order of k.
    """
    check = "depth ladder"
    finished = [(k, m) for k, m in rungs if _accuracies(m)]
    if len(finished) < 2:
        return Finding(
            name, check, "unmeasured", "caution", None, None, None,
            "fewer than two rungs have a completed run", "Not measured: nothing follows from it.",
        )  # fmt: skip
    means = {k: sum(_accuracies(m).values()) / len(_accuracies(m)) for k, m in finished}
    (lowest, bottom), *between, (highest, top) = finished
    whole = _difference(top, bottom, thresholds)
    if whole is None:
        return Finding(
            name, check, "unmeasured", "caution", None, None, None,
            "no seed completed both ends of the ladder", "Not measured: nothing follows from it.",
        )  # fmt: skip
    best = max(means, key=lambda k: (means[k], -k))
    losses = [
        (k, loss)
        for k, method in between
        if (loss := _difference(top, method, thresholds)) is not None
        and side(loss, thresholds) == "below"
    ]
    steps = ", ".join(f"{k}: {mean:.3f}" for k, mean in means.items())
    evidence = (
        f"{top.score} with the last k of {highest} blocks trained: {steps}; best at k={best}; all "
        f"over {'none' if lowest == 0 else f'k={lowest}'}: {spread(whole, top.score)}"
    )
    grows = side(whole, thresholds) == "above"
    if grows and not losses:
        good = "Every trained block earns its keep or does no harm."
        return Finding(
            name, check, "pass", "caution", whole.estimate, thresholds.depth_gain,
            whole.estimate - thresholds.depth_gain, evidence, good,
        )  # fmt: skip
    if losses:
        k, loss = min(losses, key=lambda item: item[1].estimate)
        told = (
            f"Training more blocks costs {top.score}: all of them stand "
            f"{difference(loss.estimate, top.score)} from k={k}."
        )
    else:
        told = f"Training the blocks does not clearly help: stem and head carry the {top.score}."
    return Finding(
        name, check, "flag", "caution", whole.estimate, thresholds.depth_gain,
        whole.estimate - thresholds.depth_gain, evidence, told,
    )  # fmt: skip


def _accuracies(method: Method) -> dict[int, float]:
    return {run.seed: run.accuracy for run in method.completed if run.accuracy is not None}


def _difference(a: Method, b: Method, thresholds: Thresholds) -> Interval | None:
    mine, theirs = _accuracies(a), _accuracies(b)
    seeds = [seed for seed in mine if seed in theirs]
    if not seeds:
        return None
    pairs = [mine[s] for s in seeds], [theirs[s] for s in seeds]
    return paired_t(*pairs, population="seeds", level=thresholds.level)
