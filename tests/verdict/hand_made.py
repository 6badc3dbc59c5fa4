"""Methods made by hand, healthy unless told otherwise, for the tests of the verdict."""

import math
from dataclasses import replace

from faeval.core.reading import (
    Diagnostic,
    DirectionReading,
    NullReading,
    PrecisionReading,
    Reading,
)
from faeval.verdict.checks import CHECKS
from faeval.verdict.finding import Finding
from faeval.verdict.judge import examine
from faeval.verdict.method import Method, Run, Thresholds

NAMES = (
    "labels",
    "convergence",
    "scale stability",
    "reference validity",
    "published floor",
    "half precision",
    "direction drift",
    "rule active",
    "rule's own account",
    "independent credit",
    "deep credit",
    "layer mean",
    "depth utility",
)
DEFAULTS = Thresholds()
assert len(CHECKS) == len(NAMES)


def precision(dtype: str = "float32", **changes) -> PrecisionReading:
    healthy = PrecisionReading(
        dtype=dtype,
        samples=1000,
        relative_error=1e-7,
        relative_error_p95=2e-7,
        underflow=0,
        samples_lost=0,
        cosine=0.5,
        cosine_reference=0.5,
        conclusion_changes=False,
    )
    return replace(healthy, **changes)


def null(observed: float | None, std: float | None) -> NullReading:
    """The closed-form null N(0, std²) and the p-value of what was observed."""
    p = None if not std or observed is None else 0.5 * math.erfc(observed / std / math.sqrt(2))
    return NullReading(0.0, std, p, "gaussian-feedback", None, 1000, observed)


def direction(coherence: float | None = 0.1) -> DirectionReading:
    return DirectionReading(cosine=0.4, coherence=coherence, batches=8, batch_size=125)


def reading(state: int, *, null_std: float | None = 0.02, **changes) -> Reading:
    """A healthy reading; `null_std` gives it the null of that spread."""
    healthy = Reading(
        state=state,
        samples=1000,
        undefined=0,
        zero=0,
        zero_credit=0,
        non_finite=0,
        cosine_mean=0.5,
        cosine_std=0.1,
        cosine_low=0.49,
        cosine_high=0.51,
        cosine_quantiles=(0.3, 0.4, 0.5, 0.6, 0.7),
        cosine_clamped=0.5,
        reference_norm=1e-2,
        reference_norm_mean_loss=1e-5,
        credit_norm=1.0,
        state_norm=10.0,
        credit_ratio=100.0,
        sensitivity=0.1,
        reference_relative_error=1e-7,
        update_cosine=0.6,
        update_error=1e-6,
        precisions=(precision(), precision("float16"), precision("bfloat16")),
        direction=direction(),
    )
    changed = replace(healthy, **changes)
    return (
        changed if "null" in changes else replace(changed, null=null(changed.cosine_mean, null_std))
    )


def layers(*, states: int = 4, at: int | None = None, **changes) -> tuple[Reading, ...]:
    """Healthy readings of h0, h1, …; with `changes` at one state, or at all."""
    return tuple(reading(l, **(changes if at in (None, l) else {})) for l in range(states))


def residual(value: float | None, limit: float | None = 0.1) -> Diagnostic:
    return Diagnostic("residual", value, limit)


def run(seed: int, accuracy: float | None = 0.9, control: float | None = 0.5, **changes) -> Run:
    return Run(seed, accuracy, layers(**changes), control, diagnostics=(residual(0.01),))


def diverged(seed: int) -> Run:
    return Run(seed, None, (), 0.5, "epoch 3, h2")


def method(*runs: Run, rule: str = "dfa", penalty: float = 0.0, **options) -> Method:
    return Method(rule, penalty, runs or (run(1), run(2), run(3)), **options)


def found(of: Method, check: str, thresholds: Thresholds = DEFAULTS) -> Finding:
    """The finding of one check, by its name."""
    (finding,) = [f for f in examine(of, thresholds) if f.check == check]
    return finding
