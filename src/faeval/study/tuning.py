"""Each method at its own best learning rate: from the trials that tried them to the final ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from faeval.core.trial import Trial
from faeval.records.schema import TrialRecord
from faeval.study.grid import Varied
from faeval.study.plan import Plan, PlannedMethod, named
from faeval.verdict.rates import RateCurve, best_rate

_AXIS = "learning_rate"


def candidates(plan: Plan) -> list[Trial]:
    """All that a tuned study may train: what tries the rates, and the final trial at each rate.
    Without `tune`, the trials of the plan."""
    trials = plan.trials
    if plan.config.tune is None:
        return trials
    return trials + [_final(t, t.recipe.learning_rate) for t in trials]


def setting_names(plan: Plan) -> dict[str, Varied]:
    """By trial id, what tells a method of the plan apart from others of its rule, where anything
    does. A learning rate that is chosen for each method does not."""
    of_trial = [(t, m) for m in plan.methods for t in m.trials]
    if plan.config.tune is not None:
        of_trial = [(_final(t, t.recipe.learning_rate), _untuned(m)) for t, m in of_trial]
    return {t.id: m.varied for t, m in of_trial if m.varied}


def tuned(plan: Plan, records: Mapping[str, TrialRecord]) -> tuple[Plan, tuple[RateCurve, ...]]:
    """The plan of the final trials, and the curve over learning rates behind each of its methods.

    A method's rate is that with the best mean accuracy on the validation data over its seeds,
    among those at which every seed completed; so is its control's. The final trials learn from
    all training data, and they alone meet the test data. A method without any such rate, for
    itself or for its control, is left out of the plan, and its curve says so.
    """
    methods, curves = [], []
    for tried in _by_method(plan):
        name = _untuned(tried[0])
        rates = tuple(m.trials[0].recipe.learning_rate for m in tried)
        own = [_accuracies(m.trials, records) for m in tried]
        controls = [_accuracies(m.controls, records) for m in tried]
        seeds = [t.seed for t in tried[0].trials]
        best, best_control = best_rate(rates, own, seeds), best_rate(rates, controls, seeds)
        found = [records[t.id] for m in tried for t in m.trials if t.id in records]
        curve = RateCurve(
            name.rule, name.penalty, rates, tuple(own), tuple(controls), best, best_control,
            found[0].score if found else "accuracy",
        )  # fmt: skip
        curves.append(curve)
        if best is not None and best_control is not None:
            final = tuple(_final(t, best) for t in name.trials)
            methods.append(
                replace(
                    name,
                    trials=final,
                    controls=tuple(_final(t, best_control) for t in name.controls),
                )
            )
    return Plan(plan.config, tuple(methods)), tuple(curves)


def _by_method(plan: Plan) -> list[list[PlannedMethod]]:
    found: dict[str, list[PlannedMethod]] = {}
    for method in plan.methods:
        rest = {k: v for k, v in method.varied.items() if k != _AXIS}
        found.setdefault(repr((method.plain, method.penalty, rest)), []).append(method)
    return list(found.values())


def _untuned(method: PlannedMethod) -> PlannedMethod:
    """The method without its learning rate in its name."""
    varied = {k: v for k, v in method.varied.items() if k != _AXIS}
    return replace(method, rule=named(method.plain, varied), varied=varied)


def _final(trial: Trial, rate: float) -> Trial:
    recipe = trial.recipe.model_copy(update={_AXIS: rate, "validation": 0.0})
    return trial.model_copy(update={"recipe": recipe})


def _accuracies(trials: Sequence[Trial], records: Mapping[str, TrialRecord]) -> dict[int, float]:
    """By seed; without those that diverged or have no record."""
    found = {t.seed: records[t.id].accuracy for t in trials if t.id in records}
    return {seed: accuracy for seed, accuracy in found.items() if accuracy is not None}
