"""Whether a plan can be trained at all: asked of every model and rule before the first trial."""

from collections.abc import Mapping

from faeval.core import spec
from faeval.core.random import generator
from faeval.core.trial import Trial
from faeval.data import Dataset
from faeval.data.labels import relabelled
from faeval.models import MODELS
from faeval.rules import RULES
from faeval.study.plan import Plan
from faeval.train.holdout import held_out


def check(plan: Plan, datasets: Mapping[str, Dataset]) -> None:
    """Build every model of `plan` for its data (by name in `datasets`), freeze its blocks, and
    draw every rule's feedback for it, each combination once.

    Raises InputError for the first one that makes no sense: an architecture that does not take
    the inputs, a rule that does not fit the model, labels that cannot be drawn, or a validation
    split that leaves nothing.
    """
    seen: set[str] = set()
    for trial in plan.trials:
        if (combination := _combination(trial)) in seen:
            continue
        seen.add(combination)
        dataset = held_out(datasets[trial.data], trial.recipe.validation)
        relabelled(dataset.train, trial.labels, dataset.classes, generator(0, "labels"))
        architecture = spec.build(MODELS, trial.model)
        model = architecture.build(dataset.input_shape, dataset.classes, generator(0, "weights"))
        model.freeze_blocks(trial.trainable_blocks)
        spec.build(RULES, trial.rule).init(model, generator(0, "feedback"))


def _combination(trial: Trial) -> str:
    return repr(
        (
            trial.data,
            trial.model,
            trial.rule,
            trial.trainable_blocks,
            trial.labels,
            trial.recipe.validation,
        )
    )
