"""What a network is scored by: accuracy, or R² for real targets; and how both are written.

Fields are called `accuracy` for either; beside them stands a `score` that says which it is.
"""

from collections.abc import Iterable
from math import inf
from typing import Literal, get_args

Score = Literal["accuracy", "R²"]
"""The fraction of right answers, or 1 − Σ‖ŷ − y‖² / Σ‖y − ȳ‖² where the targets are real."""

RANGE: dict[Score, tuple[float, float]] = {"accuracy": (0.0, 1.0), "R²": (-inf, 1.0)}


def either(scores: Iterable[Score]) -> str:
    """The heading over numbers of these scores: `accuracy`, `R²`, `accuracy or R²`."""
    found = set(scores)
    return " or ".join(score for score in get_args(Score) if score in found)


def difference(value: float, score: Score) -> str:
    """One score less another: `+2.0 pp` of accuracies, `+0.020` of R²."""
    return f"{100 * value:+.1f} pp" if score == "accuracy" else f"{value:+.3f}"
