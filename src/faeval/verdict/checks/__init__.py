"""The checks: pure functions from a method's numbers to a finding."""

from faeval.verdict.checks.account import own_account
from faeval.verdict.checks.credit import (
    carried_mean,
    credit_by_construction,
    deep_credit,
    rule_active,
)
from faeval.verdict.checks.depth import depth_utility
from faeval.verdict.checks.labels import true_labels
from faeval.verdict.checks.reference import (
    direction_drift,
    half_precision,
    reference_floor,
    reference_validity,
)
from faeval.verdict.checks.states import convergence, scale_stability
from faeval.verdict.finding import Check

CHECKS: tuple[Check, ...] = (
    true_labels,
    convergence,
    scale_stability,
    reference_validity,
    reference_floor,
    half_precision,
    direction_drift,
    rule_active,
    own_account,
    credit_by_construction,
    deep_credit,
    carried_mean,
    depth_utility,
)
"""Every check, in the order in which they are told: is there something to learn, can it be
measured, is it the rule's own, does it beat chance, does depth help."""

__all__ = [
    "CHECKS",
    "carried_mean",
    "convergence",
    "credit_by_construction",
    "deep_credit",
    "depth_utility",
    "direction_drift",
    "half_precision",
    "own_account",
    "reference_floor",
    "reference_validity",
    "rule_active",
    "scale_stability",
    "true_labels",
]
