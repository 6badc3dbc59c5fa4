"""A number, its uncertainty, and the population it speaks for."""

from faeval.stats.feedback import (
    FeedbackNull,
    Sources,
    feedback_draws,
    gaussian_feedback_null,
    sources,
)
from faeval.stats.intervals import Interval, Population, bootstrap, paired_t, student_t
from faeval.stats.nulls import (
    Alternative,
    Null,
    benjamini_hochberg,
    monte_carlo_null,
    p_value,
    rank_p,
)

__all__ = [
    "Alternative",
    "FeedbackNull",
    "Interval",
    "Null",
    "Population",
    "Sources",
    "benjamini_hochberg",
    "bootstrap",
    "feedback_draws",
    "gaussian_feedback_null",
    "monte_carlo_null",
    "p_value",
    "paired_t",
    "rank_p",
    "sources",
    "student_t",
]
