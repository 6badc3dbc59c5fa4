"""A number, its uncertainty, and the population it speaks for."""

from faeval.stats.intervals import Interval, Population, bootstrap, paired_t, student_t
from faeval.stats.nulls import (
    Alternative,
    Null,
    benjamini_hochberg,
    feedback_draws,
    gaussian_feedback_null,
    monte_carlo_null,
    p_value,
    rank_p,
)

__all__ = [
    "Alternative",
    "Interval",
    "Null",
    "Population",
    "benjamini_hochberg",
    "bootstrap",
    "feedback_draws",
    "gaussian_feedback_null",
    "monte_carlo_null",
    "p_value",
    "paired_t",
    "rank_p",
    "student_t",
]
