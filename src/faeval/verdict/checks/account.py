"""What the rule says of its own working, told whatever it is, and judged where it has a limit."""

from collections.abc import Sequence

from faeval.core.reading import Diagnostic
from faeval.verdict.finding import Finding, Reporter
from faeval.verdict.method import Method, Thresholds

OWN_ACCOUNT = "rule's own account"
SILENT = "the rule says nothing of its own working, or was not asked"
UNFINISHED = "The rule did not come to its end: what is read is not yet the credit it stands for."


def own_account(method: Method, thresholds: Thresholds) -> Finding:
    """Every diagnostic of the rule (`Rule.diagnostics`), over seeds; those with a limit within it
    in every seed, such as the residual of a relaxation."""
    report = Reporter(method, OWN_ACCOUNT, "note")
    said = [d for run in method.completed for d in run.diagnostics]
    if not method.completed:
        return report.unmeasured("no run ended with finite numbers")
    if not said:
        return report.settled(SILENT, "Nothing to judge.")
    names = dict.fromkeys(d.name for d in said)
    evidence = ", ".join(_told([d for d in said if d.name == name]) for name in names)
    limited = [(d.value, d.limit) for d in said if d.limit is not None]
    numbers = [(value / limit, value, limit) for value, limit in limited if value is not None]
    if not limited:
        return report.settled(evidence, "Told, not judged.")
    if len(numbers) < len(limited):
        return report.refuted(evidence, UNFINISHED)
    _, value, limit = max(numbers)
    return report.at_most(
        value, limit, evidence, "Within its limit: the rule came to its end.", UNFINISHED
    )


def _told(of_seeds: Sequence[Diagnostic]) -> str:
    """One diagnostic, from the seed where it is lowest to that where it is highest."""
    numbers = sorted(d.value for d in of_seeds if d.value is not None)
    ends = dict.fromkeys(f"{v:.2g}" for v in (numbers[:1] + numbers[-1:]))
    text = " to ".join(ends) if len(numbers) == len(of_seeds) else "not finite"
    limit = of_seeds[0].limit
    return f"{of_seeds[0].name} {text}" + ("" if limit is None else f" (limit {limit:g})")
