"""Ready-made studies: the keys of each, and the question that its findings answer. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from faeval.core import spec
from faeval.models import MODELS
from faeval.study.config import StudyConfig
from faeval.study.grid import model_spec
from faeval.study.plan import PlannedMethod, named
from faeval.study.results import Results
from faeval.verdict.finding import Finding
from faeval.verdict.fresh import fresh_feedback
from faeval.verdict.ladder import depth_ladder
from faeval.verdict.method import Method
from faeval.verdict.onset import early_epochs
from faeval.verdict.sweep import penalty_sweep

Keys = Mapping[str, Any]


@dataclass(frozen=True)
class ReadyStudy:
    """A question, the study keys that ask it (a file or flags may change them), and what the
    finished study says. `complete` fills in keys that depend on the others."""

    question: str
    keys: Keys
    conclude: Callable[[Results], list[Finding]]
    complete: Callable[[StudyConfig], StudyConfig] = lambda config: config


def _ladder(results: Results) -> list[Finding]:
    return [
        depth_ladder(
            _name(series[0][0], "blocks"),
            sorted(
                ((p.trials[0].trainable_blocks, m) for p, m in series), key=lambda rung: rung[0]
            ),
            results.thresholds,
        )
        for series in _series(results, "blocks")
    ]


def _sweep(results: Results) -> list[Finding]:
    return [
        penalty_sweep(series[0][0].rule, [m for _, m in series], results.thresholds)
        for series in _series(results, penalties=True)
    ]


def _fresh(results: Results) -> list[Finding]:
    findings = []
    for series in _series(results, "feedback"):
        by_feedback = {p.trials[0].reading_feedback: m for p, m in series}
        if not series[0][0].exact and len(by_feedback) == 2:
            name = _name(series[0][0], "feedback")
            pair = by_feedback["trained"], by_feedback["fresh"]
            findings.append(fresh_feedback(name, *pair, results.thresholds))
    return findings


def _early(results: Results) -> list[Finding]:
    return [
        early_epochs(
            method,
            {t.seed: results.courses[t.id] for t in p.trials if t.id in results.courses},
            results.thresholds,
        )
        for p, method in results.methods
        if not p.exact
    ]


def _every_rung(config: StudyConfig) -> StudyConfig:
    """Every number of trainable blocks that the model has."""
    if config.trainable_blocks is not None:
        return config
    data = config.data if isinstance(config.data, str) else config.data[0]
    model = config.model[0] if isinstance(config.model, list) else config.model
    depth = spec.build(MODELS, model_spec(model, data)).depth
    return config.model_copy(update={"trainable_blocks": list(range(depth + 1))})


READY: Mapping[str, ReadyStudy] = {
    "depth-ladder": ReadyStudy(
        "What does each further trainable block add?",
        {"rules": ["bp", "dfa"], "penalties": [0.0]},
        _ladder,
        _every_rung,
    ),
    "penalty-sweep": ReadyStudy(
        "Does a penalty that restores the credit make depth useful?",
        {"rules": ["bp", "dfa"], "penalties": [0.0, 1e-4, 1e-2, 1e-1]},
        _sweep,
    ),
    "early-epochs": ReadyStudy(
        "Which flag fires first: is the credit lost, or the reference that it is read against?",
        {"rules": ["dfa"], "penalties": [0.0], "recipe": {"epochs": 5, "course": 1}},
        _early,
    ),
    "fresh-feedback": ReadyStudy(
        "Is the alignment with the feedback of training, or with any?",
        {
            "rules": ["dfa"],
            "penalties": [0.0, 0.01],
            "reading_feedback": ["trained", "fresh"],
            # Without readings in training, which are of one feedback, both share one training.
            "recipe": {"course": "none"},
        },
        _fresh,
    ),
    "learning-rate": ReadyStudy(
        "Does a conclusion hang on the learning rate, and what remains with each at its best?",
        {
            "rules": ["dfa"],
            "penalties": [0.0],
            "tune": {"learning_rates": [2e-4, 5e-4, 1e-3, 2e-3, 5e-3]},
        },
        lambda _: [],  # every tuned study ends in its finding on the learning rate
    ),
}


def _series(
    results: Results, axis: str | None = None, *, penalties: bool = False
) -> list[list[tuple[PlannedMethod, Method]]]:
    """The methods that differ in nothing but `axis`, or in nothing but the penalty."""
    found: dict[str, list[tuple[PlannedMethod, Method]]] = {}
    for planned, method in results.methods:
        rest = {k: v for k, v in planned.varied.items() if k != axis}
        key = repr((planned.plain, rest, None if penalties else planned.penalty))
        found.setdefault(key, []).append((planned, method))
    return list(found.values())


def _name(planned: PlannedMethod, axis: str) -> str:
    rest = {k: v for k, v in planned.varied.items() if k != axis}
    return Method(named(planned.plain, rest), planned.penalty, ()).name
