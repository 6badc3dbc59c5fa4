"""Check on the task: is there anything to learn?"""

from faeval.verdict.finding import Finding, Reporter
from faeval.verdict.method import Method, Thresholds


def true_labels(method: Method, thresholds: Thresholds) -> Finding:
    """The labels of the training data are those of its samples. A network that learned others is
    a control: whatever it reaches, it is no evidence for its rule."""
    report = Reporter(method, "labels", "refuse")
    if method.labels == "true":
        return report.settled("trained on the true labels", "There is something to learn.")
    return report.at_most(
        1,
        0,
        f"trained on {method.labels} labels, tested on the true ones",
        "",
        "A control: the labels say nothing of the samples, and what it reaches is chance.",
    )
