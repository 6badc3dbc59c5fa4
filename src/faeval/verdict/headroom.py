"""Is there anything for depth to gain? What backpropagation itself makes of the blocks."""

from collections.abc import Sequence

from faeval.stats import paired_t
from faeval.verdict.finding import ROUNDING, Finding
from faeval.verdict.method import Method, Thresholds
from faeval.verdict.rates import spread


def depth_headroom(methods: Sequence[Method], thresholds: Thresholds) -> list[Finding]:
    """A note for each plain run of true gradients that gains less than `depth_gain` over its own
    frozen blocks: there no rule is shown wanting by gaining nothing. Silent where they gain, or
    were not trained.
    """
    found = []
    for method in methods:
        paired = method.paired
        if not method.credit_is_gradient or method.penalty or method.labels != "true" or not paired:
            continue
        gain = paired_t(*zip(*paired, strict=True), population="seeds", level=thresholds.level)
        room = gain.estimate - thresholds.depth_gain
        if room >= -ROUNDING:
            continue
        found.append(
            Finding(
                method.name, "depth headroom", "flag", "note", gain.estimate,
                thresholds.depth_gain, room,
                f"true gradients gain {spread(gain, method.score)} over frozen blocks",
                "Not even true gradients are shown to use depth on this data, model and recipe: "
                "that another method does not either is no mark against it. Compare on a task "
                "that needs depth, such as digit-sums.",
            )
        )  # fmt: skip
    return found
