"""Whether a plan can be trained at all: asked of every model and rule before the first trial."""

from collections.abc import Mapping

import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.core.trial import Trial
from faeval.data import Batches, Dataset
from faeval.data.labels import relabelled
from faeval.study.plan import Plan
from faeval.train.holdout import held_out
from faeval.train.state import TrainState, fresh


def check(plan: Plan, datasets: Mapping[str, Dataset]) -> None:
    """Make the state before the first step of everything in `plan` on its data (by name in
    `datasets`), each combination once: models are built, feedback is drawn, and the rule gives
    its credit for two samples.

    Raises InputError for the first one that makes no sense: an architecture that does not take
    the inputs, a rule or recipe that does not fit the model, a rule whose credits are not shaped
    like the states or that fails, labels that cannot be drawn, or a validation split that leaves
    nothing.
    """
    seen: set[str] = set()
    for trial in plan.trials:
        if (combination := _combination(trial)) in seen:
            continue
        seen.add(combination)
        dataset = held_out(datasets[trial.data], trial.recipe.validation)
        relabelled(dataset.train, trial.labels, dataset.classes, generator(0, "labels"))
        state = fresh(trial, dataset.input_shape, dataset.classes, torch.device("cpu"))
        first = torch.arange(min(2, len(dataset.train)))
        _check_credits(trial.rule["name"], state, *Batches(dataset, dataset.train).take(first))


def _check_credits(name: str, state: TrainState, x: Tensor, y: Tensor) -> None:
    """Once and here, so that no step of training has to look."""
    rule, model = state.rule, state.model.eval()  # two samples are no batch for a BatchNorm
    fix = "correct the rule: Rule.credit gives one credit per state, shaped like it"
    try:
        trace = rule.run(model, state.feedback, x, y)
        credits = list(rule.credit(trace, state.feedback))
    except InputError:
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"credits of rule {name!r} for two samples", told, fix) from error
    if len(credits) != len(trace.states):
        raise InputError(
            f"{len(trace.states)} credits of rule {name!r}, one per state", f"{len(credits)}", fix
        )
    for at, (h, credit) in enumerate(zip(trace.states, credits, strict=True)):
        shape = tuple(credit.shape) if isinstance(credit, Tensor) else type(credit).__name__
        if shape != tuple(h.shape):
            raise InputError(
                f"a credit of rule {name!r} for state h{at} of shape {tuple(h.shape)}",
                f"{shape}",
                fix,
            )


def _combination(trial: Trial) -> str:
    return repr(
        (
            trial.data,
            trial.model,
            trial.rule,
            trial.trainable_blocks,
            trial.labels,
            trial.recipe.validation,
            trial.recipe.credit_at,
        )
    )
