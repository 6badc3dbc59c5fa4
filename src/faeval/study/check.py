"""Whether a plan can be trained at all: asked of every model and rule before the first trial."""

from collections.abc import Mapping

import torch

from faeval.core.random import generator
from faeval.core.trial import Trial
from faeval.data import Dataset
from faeval.data.labels import relabelled
from faeval.study.plan import Plan
from faeval.train.holdout import held_out
from faeval.train.state import fresh


def check(plan: Plan, datasets: Mapping[str, Dataset]) -> None:
    """Make the state before the first step of everything in `plan` on its data (by name in
    `datasets`), each combination once: models are built, feedback is drawn.

    Raises InputError for the first one that makes no sense: an architecture that does not take
    the inputs, a rule or recipe that does not fit the model, labels that cannot be drawn, or a
    validation split that leaves nothing.
    """
    seen: set[str] = set()
    for trial in plan.trials:
        if (combination := _combination(trial)) in seen:
            continue
        seen.add(combination)
        dataset = held_out(datasets[trial.data], trial.recipe.validation)
        relabelled(dataset.train, trial.labels, dataset.classes, generator(0, "labels"))
        fresh(trial, dataset.input_shape, dataset.classes, torch.device("cpu"))


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
