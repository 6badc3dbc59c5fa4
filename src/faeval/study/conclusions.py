"""What a study as a whole says, from its records alone: whatever they can answer. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from faeval.core import spec
from faeval.records.schema import TrialRecord
from faeval.rules import RULES
from faeval.study.grouping import RATE, Group, Key, apart_from, run_of
from faeval.study.plan import control_of, named
from faeval.verdict.finding import Finding
from faeval.verdict.fresh import fresh_feedback
from faeval.verdict.headroom import depth_headroom
from faeval.verdict.ladder import depth_ladder
from faeval.verdict.method import Thresholds
from faeval.verdict.onset import Course, Onset, early_epochs, onsets
from faeval.verdict.rates import RateCurve, best_rate, learning_rate_dependence
from faeval.verdict.sweep import penalty_sweep

_TUNED = (RATE, "recipe.validation")


@dataclass(frozen=True)
class Conclusions:
    """The findings of ready-made studies, and what lies behind them.

    findings  on what depth can gain at all, learning rate, depth, penalty, feedback and early
              epochs, where the records have what it takes; the same as those of the command that
              trained the study
    curves    accuracy over the learning rate of each tuned method
    onsets    for each method whose training was read, where each check first flags, by seed
    """

    findings: tuple[Finding, ...]
    curves: tuple[RateCurve, ...]
    onsets: Mapping[str, tuple[Onset, ...]]


def conclude(
    groups: Sequence[Group],
    records: Sequence[TrialRecord],
    courses: Mapping[str, Course],
    thresholds: Thresholds,
) -> Conclusions:
    """All that the records, their methods, and the readings in training by trial id say as a
    whole."""
    curves = _curves(groups, records)
    methods = {g.method.name: g.method for g in groups}
    of_group = {g.method.name: _courses(g, courses) for g in groups}
    findings = [
        *depth_headroom([g.method for g in groups], thresholds),
        *(learning_rate_dependence(c, methods.get(c.name), thresholds) for c in curves),
        *_ladders(groups, thresholds),
        *_sweeps(groups, thresholds),
        *_feedbacks(groups, thresholds),
        *(
            early_epochs(g.method, of_group[g.method.name], thresholds)
            for g in groups
            if of_group[g.method.name] and not g.method.credit_is_gradient
        ),
    ]
    first_flags = {
        name: tuple(onsets(methods[name], read, thresholds))
        for name, read in of_group.items()
        if read
    }
    return Conclusions(tuple(findings), curves, first_flags)


def _courses(group: Group, courses: Mapping[str, Course]) -> dict[int, Course]:
    return {r.trial.seed: courses[r.trial.id] for r in group.records if r.trial.id in courses}


def _ladders(groups: Iterable[Group], thresholds: Thresholds) -> Iterator[Finding]:
    for group in groups:
        depth = group.records[0].trial.trainable_blocks
        if any(blocks > 0 for blocks in group.partial):
            rungs = [
                (blocks, replace(group.method, runs=tuple(run_of(r, None) for r in of_rung)))
                for blocks, of_rung in sorted(group.partial.items())
            ]
            yield depth_ladder(group.method.name, [*rungs, (depth, group.method)], thresholds)


def _sweeps(groups: Iterable[Group], thresholds: Thresholds) -> Iterator[Finding]:
    by_rule: dict[str, list[Group]] = {}
    for group in groups:
        by_rule.setdefault(group.method.rule, []).append(group)
    for rule, some in by_rule.items():
        if len(some) > 1:
            yield penalty_sweep(rule, [g.method for g in some], thresholds)


def _feedbacks(groups: Iterable[Group], thresholds: Thresholds) -> Iterator[Finding]:
    read = "reading_feedback"
    pairs: dict[Key, dict[str, Group]] = {}
    for group in groups:
        trial = group.records[0].trial
        pairs.setdefault(apart_from(trial, read), {})[trial.reading_feedback] = group
    for pair in pairs.values():
        if len(pair) == 2 and not pair["trained"].method.credit_is_gradient:
            group, fresh = pair["trained"], pair["fresh"].method
            rest = {key: value for key, value in group.varied.items() if key != "feedback"}
            name = replace(group.method, rule=named(group.plain, rest)).name
            yield fresh_feedback(name, group.method, fresh, thresholds)


def _curves(groups: Sequence[Group], records: Sequence[TrialRecord]) -> tuple[RateCurve, ...]:
    """One for each method whose trials on held-out data are there, its control's beside it."""
    tried = {r.trial.id: r for r in records if r.trial.recipe.validation}
    names = {apart_from(g.records[0].trial, *_TUNED): g.method.rule for g in groups}
    by_method: dict[Key, list[TrialRecord]] = {}
    for record in tried.values():
        if record.trial.trainable_blocks:
            by_method.setdefault(apart_from(record.trial, *_TUNED), []).append(record)
    curves = []
    for key, of_method in by_method.items():
        first = of_method[0].trial
        rates = tuple(dict.fromkeys(r.trial.recipe.learning_rate for r in of_method))
        at_rates = [
            [r for r in of_method if r.trial.recipe.learning_rate == rate] for rate in rates
        ]
        own = tuple(_accuracies(some) for some in at_rates)
        controls = tuple(
            _accuracies(tried[c] for r in some if (c := control_of(r.trial).id) in tried)
            for some in at_rates
        )
        seeds = list(dict.fromkeys(r.trial.seed for r in of_method))
        rule = names.get(key) or spec.label(RULES, first.rule)
        curves.append(
            RateCurve(
                rule, first.penalty, rates, own, controls,
                best_rate(rates, own, seeds), best_rate(rates, controls, seeds),
                of_method[0].score,
            )
        )  # fmt: skip
    return tuple(curves)


def _accuracies(records: Iterable[TrialRecord]) -> dict[int, float]:
    """By seed, without those that diverged."""
    return {r.trial.seed: r.accuracy for r in records if r.accuracy is not None}
