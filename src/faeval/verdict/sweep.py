"""Penalty sweep: does the penalty that restores the credit make depth useful?"""

from collections.abc import Sequence

from faeval.core.score import difference
from faeval.core.trial import shortest
from faeval.verdict.checks import deep_credit, depth_utility, scale_stability
from faeval.verdict.finding import Finding
from faeval.verdict.method import Method, Thresholds


def penalty_sweep(name: str, methods: Sequence[Method], thresholds: Thresholds) -> Finding:
    """For each penalty λ of one rule: accuracy, growth of ‖h‖, credit above chance at every deep
    state, gain over frozen blocks. Flags where a penalty gives the credit (or the scale) that
    plain training lacks and depth is of no use all the same: alignment repaired, not learning."""
    check = "penalty sweep"
    methods = sorted((m for m in methods if m.completed), key=lambda m: m.penalty)
    if len(methods) < 2:
        return Finding(
            name, check, "unmeasured", "caution", None, None, None,
            "fewer than two penalties have a completed run",
            "Not measured: nothing follows from it.",
        )  # fmt: skip
    evidence = "; ".join(_told(method, thresholds) for method in methods)
    aligned = [m for m in methods if deep_credit(m, thresholds).status == "pass"]
    useful = [m for m in methods if depth_utility(m, thresholds).status == "pass"]
    repaired = [m for m in aligned if m.penalty and not m.credit_is_gradient and m not in useful]
    best = max(methods, key=lambda m: (_mean(m), -m.penalty))
    if repaired:
        told = (
            f"With λ={', '.join(shortest(m.penalty) for m in repaired)} the credit beats chance at "
            "every deep state and depth still is not shown to help: a repaired cosine is no "
            "evidence of learning in the blocks."
        )
        return Finding(name, check, "flag", "caution", None, None, None, evidence, told)
    told = f"Best {best.score} at λ={shortest(best.penalty)}" + (
        f"; depth is of use at λ={', '.join(shortest(m.penalty) for m in useful)}."
        if useful
        else "; at no λ is depth shown to help."
    )
    return Finding(name, check, "pass", "caution", None, None, None, evidence, told)


def _told(method: Method, thresholds: Thresholds) -> str:
    gain = depth_utility(method, thresholds)
    over = ""
    if gain.value is not None:
        over = f" ({difference(gain.value, method.score)} over frozen blocks)"
    parts = [f"λ={shortest(method.penalty)}: {method.score} {_mean(method):.3f}{over}"]
    last = [run.layers[-1] for run in method.completed if run.layers]
    norms = [r.state_norm for r in last if r.state_norm is not None]
    if norms and len(norms) == len(last):
        parts.append(f"‖h_L‖ {sum(norms) / len(norms):.2g}")
    if not method.credit_is_gradient:
        deep = [r.cosine_mean for run in method.completed for r in run.layers[1:]]
        defined = [cosine for cosine in deep if cosine is not None]
        if defined and len(defined) == len(deep):
            parts.append(f"deep mean cosine {sum(defined) / len(defined):+.2f}")
        verdict = {
            "pass": "above chance at every deep state",
            "flag": "not above chance everywhere",
        }
        parts.append(verdict.get(deep_credit(method, thresholds).status, "credit not measured"))
    if scale_stability(method, thresholds).status == "flag":
        parts.append("growth flagged")
    return ", ".join(parts)


def _mean(method: Method) -> float:
    accuracies = [run.accuracy for run in method.completed if run.accuracy is not None]
    return sum(accuracies) / len(accuracies)
