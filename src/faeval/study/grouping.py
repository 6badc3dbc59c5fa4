"""From the records of a folder alone to its methods and their controls. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faeval.core import spec
from faeval.core.score import Score
from faeval.core.spec import Spec
from faeval.core.trial import Trial
from faeval.models import MODELS
from faeval.records.schema import TrialRecord
from faeval.rules import RULES
from faeval.study.grid import Varied
from faeval.study.plan import control_of, named
from faeval.verdict.method import Method, Run

RATE = "recipe.learning_rate"
# Where a plan's word for a field is not the last part of its path.
_SHORT = {"model.name": "model", "reading_feedback": "feedback", "trainable_blocks": "blocks"}

Fields = dict[str, Any]
Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Group:
    """A method, and the records it was made of: one per seed, in the order of its runs.

    `plain` is the rule with its own options alone, `varied` what tells the method apart from
    others of the study. `controls` are the frozen-blocks trials that its gain
    is over; `partial` holds, by number of trainable blocks below the depth, the trials that differ
    from `records` in nothing else.
    """

    method: Method
    plain: str
    varied: Varied
    records: tuple[TrialRecord, ...]
    controls: tuple[TrialRecord, ...]
    partial: dict[int, tuple[TrialRecord, ...]]


def grouped(
    records: Sequence[TrialRecord], told: Mapping[str, Varied] | None = None
) -> tuple[Group, ...]:
    """Records that differ in nothing but the seed, and train every block, make a method; each
    run's control is the record of `plan.control_of`; where controls were tuned apart, the one
    at its own learning rate. Trials on held-out data, which choose learning rates, make no
    method. Order: that of the records.

    Where one rule ran in several settings, its name tells them apart: in the words of the plan
    where `told` holds them by trial id, else by the fields in which they differ, `dfa depth=8`;
    not so a learning rate that was tuned for each method. Raises InputError for a rule or a model
    that is not registered here.
    """
    final = [record for record in records if not record.trial.recipe.validation]
    by_key: dict[Key, list[TrialRecord]] = {}
    for record in final:
        by_key.setdefault(_key(record.trial), []).append(record)
    at_rates = _at_rates(by_key)
    methods = [of for of in by_key.values() if of[0].trial.trainable_blocks == _depth(of[0].trial)]
    firsts = [of_method[0].trial for of_method in methods]
    tuned = len(final) < len(records) and _one_rate_each(firsts)
    varied = _varied(firsts, but=(RATE,) if tuned else ())
    groups = []
    for first, of_method in zip(firsts, methods, strict=True):
        frozen = _controls(first, by_key, at_rates)
        controls = {r.trial.seed: r for r in frozen}
        plain = _plain(first.rule)
        apart = (told or {}).get(first.id, _apart(first, varied[plain]))
        rule = named(plain, apart)
        runs = tuple(run_of(r, controls.get(r.trial.seed)) for r in of_method)
        method = method_with_claims(rule, runs, first, of_method[0].score)
        partial = _partial(first, by_key)
        groups.append(Group(method, plain, apart, tuple(of_method), frozen, partial))
    return tuple(groups)


def method_with_claims(
    name: str, runs: tuple[Run, ...], trial: Trial, score: Score = "accuracy"
) -> Method:
    """The method of these runs, with what its rule says of itself; `trial` is one of them, and
    `score` what they are scored by."""
    claims = spec.build(RULES, trial.rule).claims
    return Method(
        name,
        trial.penalty,
        runs,
        claims.exact,
        claims.granularity,
        claims.transports_weights,
        "" if claims.end_to_end else trial.recipe.credit_at,
        claims.feedback,
        trial.labels,
        score,
    )


def run_of(record: TrialRecord, control: TrialRecord | None) -> Run:
    """One seed of a method, beside its frozen-blocks control where there is one."""
    at = record.divergence
    return Run(
        seed=record.trial.seed,
        accuracy=record.accuracy,
        layers=tuple(record.layers),
        control=control.accuracy if control else None,
        divergence=at and f"epoch {at.epoch}, {'loss' if at.layer is None else f'h{at.layer}'}",
        diagnostics=tuple(record.diagnostics),
    )


def _controls(
    first: Trial,
    by_key: Mapping[Key, Sequence[TrialRecord]],
    at_rates: Mapping[Key, Sequence[Key]],
) -> tuple[TrialRecord, ...]:
    key = _key(control_of(first))
    if key in by_key:
        return tuple(by_key[key])
    tuned = at_rates.get(_without(key, RATE), ())
    return tuple(by_key[tuned[0]]) if len(tuned) == 1 else ()


def _at_rates(keys: Iterable[Key]) -> dict[Key, list[Key]]:
    """For what stays of a key without its learning rate: the keys that have some rate there."""
    found: dict[Key, list[Key]] = {}
    for key in keys:
        found.setdefault(_without(key, RATE), []).append(key)
    return found


def _partial(
    first: Trial, by_key: Mapping[Key, Sequence[TrialRecord]]
) -> dict[int, tuple[TrialRecord, ...]]:
    rungs = range(first.trainable_blocks)
    keys = {k: _key(first.model_copy(update={"trainable_blocks": k})) for k in rungs}
    return {blocks: tuple(by_key[key]) for blocks, key in keys.items() if key in by_key}


def apart_from(trial: Trial, *names: str) -> Key:
    """All that two trials share when they differ in nothing but these fields and the seed."""
    return _without(_key(trial), *names)


def _without(key: Key, *names: str) -> Key:
    return tuple(pair for pair in key if pair[0] not in names)


def _one_rate_each(trials: Sequence[Trial]) -> bool:
    return len({_key(t) for t in trials}) == len({apart_from(t, RATE) for t in trials})


def _depth(trial: Trial) -> int:
    return spec.build(MODELS, trial.model).depth


def _plain(rule: Spec) -> str:
    return spec.label(RULES, rule)


def _varied(trials: Sequence[Trial], but: Sequence[str]) -> dict[str, list[str]]:
    """For each rule: the fields in which its trials differ, apart from penalty, seed and `but`."""
    values: dict[str, dict[str, set[str]]] = {}
    for trial in trials:
        of_rule = values.setdefault(_plain(trial.rule), {})
        for name, value in _flat(trial).items():
            of_rule.setdefault(name, set()).add(repr(value))
    told_apart_already = ("seed", "penalty", *but)
    return {
        rule: [
            name
            for name, different in fields.items()
            if len(different) > 1 and name not in told_apart_already and name[:5] != "rule."
        ]
        for rule, fields in values.items()
    }


def _apart(trial: Trial, names: Sequence[str]) -> Varied:
    fields = _flat(trial)
    return {_SHORT.get(name, name.rpartition(".")[2]): fields.get(name) for name in names}


def _key(trial: Trial) -> Key:
    """All that two trials share when they differ in nothing but the seed."""
    return tuple((k, repr(v)) for k, v in sorted(_flat(trial).items()) if k != "seed")


def _flat(trial: Trial) -> Fields:
    """Every field of a trial by its path: `recipe.epochs`. Later fields at their defaults are
    spelled out, so that records from before them compare equal."""
    flat: Fields = {}
    for name, value in vars(trial).items():
        inner = vars(value) if name == "recipe" else value
        if isinstance(inner, dict):
            flat |= {f"{name}.{k}": v for k, v in inner.items()}
        else:
            flat[name] = value
    return flat
