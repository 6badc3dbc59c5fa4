"""Judged studies made by hand, for the tests of what a report shows."""

import math
from collections.abc import Iterator

from faeval.core.reading import DirectionReading, NullReading, Reading
from faeval.core.trial import Recipe, Trial
from faeval.records.schema import Divergence, TrialRecord
from faeval.verdict.judge import Judgement, judge_all
from faeval.verdict.method import Method, Run, Thresholds

LEVEL = Thresholds().level


def null(std: float | None) -> NullReading:
    p = None if std is None else 1e-6
    fresh = None if std is None else std / 3
    fresh_p = None if std is None else 0.37
    return NullReading(0.0, std, p, "gaussian-feedback", None, 360, 0.3, fresh, fresh_p)


def reading(state: int, seed: int = 0, **changes) -> Reading:
    """Numbers that differ between states and seeds in every field."""
    wave = math.sin(1 + 7 * state + 3 * seed)
    if "null_std" in changes:
        changes["null"] = null(changes.pop("null_std"))
    numbers = {
        "state": state,
        "samples": 360,
        "undefined": (state + seed) % 3,
        "zero": (state + seed) % 3,
        "zero_credit": 0,
        "non_finite": 0,
        "cosine_mean": 0.3 + 0.1 * wave,
        "cosine_std": 0.1 + 0.01 * wave,
        "cosine_low": 0.29 + 0.1 * wave,
        "cosine_high": 0.31 + 0.1 * wave,
        "cosine_quantiles": (0.1, 0.2, 0.3, 0.4, 0.5),
        "cosine_clamped": 0.2 + 0.1 * wave,
        "reference_norm": 10.0 ** (-3 + state * wave),
        "reference_norm_mean_loss": 1e-5,
        "credit_norm": 2.0 + wave,
        "state_norm": 10.0 ** (1 + state * abs(wave)),
        "credit_ratio": 10.0,
        "sensitivity": 0.1,
        "reference_relative_error": 10.0 ** (-7 + wave),
        "update_cosine": 0.3,
        "update_error": 1e-6,
        "null": null(0.03 + 0.01 * wave),
        "direction": DirectionReading(0.4, 0.1, 8, 45),
    }
    return Reading(**(numbers | changes))


def run(seed: int, states: int = 5, *, at: int | None = None, **changes) -> Run:
    layers = tuple(reading(l, seed, **(changes if at in (None, l) else {})) for l in range(states))
    return Run(seed, 0.7 + 0.01 * (seed % 7), layers, 0.55 + 0.005 * (seed % 5))


def diverged(seed: int) -> Run:
    return Run(seed, None, (), 0.55, "epoch 2, h3")


def method(*seeds: int, rule: str = "dfa", penalty: float = 0.0, states: int = 5) -> Method:
    return Method(rule, penalty, tuple(run(seed, states) for seed in seeds))


def judged(*methods: Method) -> Judgement:
    return judge_all(methods, Thresholds())


def typical() -> Judgement:
    return judged(
        method(1, 2, 3, rule="fa"), method(1, 2, 3), method(1, 2, 3, penalty=0.01, rule="dfa")
    )


def with_divergence() -> Judgement:
    gone = Method("pepita", 0.0, (diverged(1), diverged(2)))
    half = Method("dfa", 0.0, (run(1), diverged(2), run(3)))
    return judged(gone, half, method(1, 2, 3, penalty=0.01))


def one_seed() -> Judgement:
    return judged(method(42), method(42, penalty=0.01))


def large() -> Judgement:
    names = ["bp", "dfa", "fa", "drtp"]
    return judged(
        *(method(42, 123, rule=n, penalty=p, states=13) for n in names for p in (0.0, 0.01))
    )


def wide() -> Judgement:
    """Every number as wide as it gets: two seeds far apart, norms beyond the plain range."""
    runs = [
        run(
            seed,
            cosine_mean=sign * 0.99,
            cosine_clamped=sign * 0.5,
            reference_norm=3e-8,
            credit_norm=2e-9,
            state_norm=5e8,
            undefined=180,
        )
        for seed, sign in ((1, 1), (2, -1))
    ]
    return judged(Method("dfa", 0.0, tuple(runs)))


STUDIES = {f.__name__: f for f in (typical, with_divergence, one_seed, large, wide)}


def trial(seed: int, *, rule: str = "dfa", penalty: float = 0.0, trainable: int = 4) -> Trial:
    return Trial(
        data="digits",
        model={"name": "resmlp", "depth": 4, "width": 8},
        rule={"name": rule, "scale": 1.0},
        penalty=penalty,
        trainable_blocks=trainable,
        recipe=Recipe(epochs=2),
        seed=seed,
    )


def records() -> Iterator[TrialRecord]:
    common = {
        "history": [], "data_fingerprint": "f00d", "device": "cpu", "versions": {}, "seconds": 1.0,
    }  # fmt: skip
    for seed in (1, 2):
        yield TrialRecord(
            trial=trial(seed), status="completed", accuracy=0.7, layers=list(run(seed).layers),
            **common,
        )  # fmt: skip
    yield TrialRecord(
        trial=trial(3, penalty=0.01), status="diverged", accuracy=None, layers=[],
        divergence=Divergence(epoch=2, layer=3), **common,
    )  # fmt: skip
    blind = {"cosine_mean": None, "cosine_std": None, "cosine_quantiles": None, "null_std": None}
    yield TrialRecord(
        trial=trial(1, trainable=0), status="completed", accuracy=0.5,
        layers=list(run(1, at=2, undefined=360, **blind).layers), **common,
    )  # fmt: skip
