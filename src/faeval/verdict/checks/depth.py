"""Does depth help? Accuracy against the same network with frozen blocks."""

from faeval.core.score import difference
from faeval.stats import paired_t
from faeval.verdict.finding import ROUNDING, Finding, Reporter
from faeval.verdict.method import Method, Thresholds
from faeval.verdict.rates import over_seeds


def depth_utility(method: Method, thresholds: Thresholds) -> Finding:
    """Accuracy over that of the frozen-blocks control of the same seed, paired
    (arXiv 2606.21126, check d); with several seeds the Student-t interval must clear the
    limit too. Where it holds gains on both sides of the limit, the question is open: caution."""
    paired = method.paired
    if not paired or len(paired) < len(method.completed):
        return Reporter(method, "depth utility", "refuse").unmeasured(
            "some seed has no completed frozen-blocks control"
        )
    gain = paired_t(*zip(*paired, strict=True), population="seeds", level=thresholds.level)
    limit = thresholds.depth_gain - ROUNDING
    reached = gain.estimate >= limit
    harm = gain.estimate <= -thresholds.depth_gain and (gain.high is None or gain.high < 0)
    open_ = not reached and gain.high is not None and gain.high >= limit
    # Below that of a constant prediction, which only R² of real targets can be.
    worthless = all(accuracy < 0 for accuracy, _ in paired)
    # A gain that is not sure needs seeds; one that is not there refutes the claim.
    unsure = (reached or open_) and not worthless
    return Reporter(method, "depth utility", "caution" if unsure else "refuse").at_least(
        gain.estimate,
        thresholds.depth_gain,
        f"{difference(gain.estimate, method.score)} over frozen blocks "
        f"({over_seeds(gain, method.score)}; "
        f"limit {difference(thresholds.depth_gain, method.score)})",
        "The trained blocks earn their keep.",
        "The network predicts no better than a constant: there is no use to compare."
        if worthless
        else "The gain may be chance, for its interval reaches below the limit: add seeds (with "
        "the same --out, only the new ones are trained)."
        if reached
        else "Training the blocks does harm: the network is better with random ones."
        if harm
        else "No gain over random blocks is shown, and these few seeds do not rule one out either: "
        "add seeds before saying more."
        if open_
        else "Training the blocks gains nothing worth the name over random ones: the accuracy "
        "is that of stem and head.",
        also=not worthless and (gain.low is None or gain.low >= limit),
    )
