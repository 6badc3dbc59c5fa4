"""Methods made by hand, healthy unless told otherwise, for the tests of the verdict."""

from dataclasses import replace

from faeval.core.reading import Reading
from faeval.verdict.checks import CHECKS
from faeval.verdict.judge import examine
from faeval.verdict.method import Finding, Method, Run, Thresholds

NAMES = ("convergence", "scale stability", "reference validity", "deep credit", "depth utility")
DEFAULTS = Thresholds()
assert len(CHECKS) == len(NAMES)


def reading(state: int, **changes) -> Reading:
    healthy = Reading(
        state=state,
        samples=1000,
        undefined=0,
        cosine_mean=0.5,
        cosine_std=0.1,
        cosine_quantiles=(0.3, 0.4, 0.5, 0.6, 0.7),
        cosine_clamped=0.5,
        reference_norm=1e-2,
        reference_norm_mean_loss=1e-5,
        credit_norm=1.0,
        state_norm=10.0,
        reference_relative_error=1e-7,
        reference_relative_error_p95=2e-7,
        null_std=0.02,
        null_p=1e-9,
    )
    return replace(healthy, **changes)


def layers(*, states: int = 4, at: int | None = None, **changes) -> tuple[Reading, ...]:
    """Healthy readings of h0, h1, …; with `changes` at one state, or at all."""
    return tuple(reading(l, **(changes if at in (None, l) else {})) for l in range(states))


def run(seed: int, accuracy: float | None = 0.9, control: float | None = 0.5, **changes) -> Run:
    return Run(seed, accuracy, layers(**changes), control)


def diverged(seed: int) -> Run:
    return Run(seed, None, (), 0.5, "epoch 3, h2")


def method(*runs: Run, rule: str = "dfa", penalty: float = 0.0, **options) -> Method:
    return Method(rule, penalty, runs or (run(1), run(2), run(3)), **options)


def found(of: Method, check: str, thresholds: Thresholds = DEFAULTS) -> Finding:
    """The finding of one check, by its name."""
    (finding,) = [f for f in examine(of, thresholds) if f.check == check]
    return finding
