"""All that changes while a trial trains: fresh, snapshot, restore."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from faeval.core import spec
from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.core.trial import Trial
from faeval.models import MODELS, Staged
from faeval.rules import RULES, Feedback, Rule
from faeval.train.adamw import AdamW

_ANEW = "point at the right trial, or delete its folder to train it again"


@dataclass
class TrainState:
    """A trial in training. `generators` are the streams that training itself consumes."""

    model: Staged
    rule: Rule
    feedback: Feedback
    optimizer: AdamW
    generators: dict[str, torch.Generator]
    epoch: int = 0
    step: int = 0


def fresh(
    trial: Trial, input_shape: tuple[int, ...], classes: int, device: torch.device
) -> TrainState:
    """The state before the first step. Weights, feedback, order and augmentation have a
    stream of the trial's seed each, so that trials which differ in rule, penalty or frozen
    blocks start from the same weights and see the same batches.

    Raises InputError where model, data, rule and recipe do not go together."""
    architecture = spec.build(MODELS, trial.model)
    rule = spec.build(RULES, trial.rule)
    model = architecture.build(input_shape, classes, generator(trial.seed, "weights"))
    model.freeze_blocks(trial.trainable_blocks)
    if trial.recipe.credit_at == "input" and not rule.claims.end_to_end:
        _check_one_shape(model)
    feedback = rule.init(model, generator(trial.seed, "feedback"))
    model.to(device)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = AdamW(trainable, trial.recipe.weight_decay)
    return TrainState(
        model,
        rule,
        {name: b.to(device) for name, b in feedback.items()},
        optimizer,
        {name: generator(trial.seed, name) for name in ("order", "augment", "update")},
    )


def _check_one_shape(model: Staged) -> None:
    shapes = list(dict.fromkeys(model.state_shapes))
    if len(shapes) > 1:
        raise InputError(
            "states of one shape, to teach each block by the credit of its input",
            ", ".join(map(str, shapes)),
            "set credit_at: output in the recipe",
        )


def snapshot(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything that a later process needs to go on to the same bits: named tensors, and
    the position (finished epochs and steps, from which the schedule follows)."""
    parts = {
        "model": state.model.state_dict(),
        "feedback": state.feedback,
        "generator": {name: g.get_state() for name, g in state.generators.items()},
        "optimizer": {**state.optimizer.moments, "steps": state.optimizer.steps},
    }
    tensors = {f"{part}.{name}": t for part, named in parts.items() for name, t in named.items()}
    return tensors, {"epoch": state.epoch, "step": state.step}


def restore(state: TrainState, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
    """Bring a fresh state to where the snapshot was taken.

    Raises InputError that names the first leaf which is missing, surplus or of another shape;
    the state is then untouched.
    """
    template, _ = snapshot(state)
    _match(template, tensors)
    epoch, step = (_count(position, key) for key in ("epoch", "step"))
    for name in state.generators:
        _check_generator(name, tensors[f"generator.{name}"])
    with torch.no_grad():
        for leaf, target in template.items():
            if not leaf.startswith("generator."):
                target.copy_(tensors[leaf])
    for name, stream in state.generators.items():
        stream.set_state(tensors[f"generator.{name}"])
    state.epoch, state.step = epoch, step


def _count(position: dict[str, Any], key: str) -> int:
    value = position.get(key)
    if not isinstance(value, int) or value < 0:
        raise InputError(f"a checkpoint that tells its {key}", repr(value), _ANEW)
    return value


def _check_generator(name: str, saved: Tensor) -> None:
    try:
        torch.Generator("cpu").set_state(saved)
    except (RuntimeError, TypeError):
        raise InputError(f"a state of the generator {name!r}", "something else", _ANEW) from None


def _match(template: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    for leaf, expected in template.items():
        found = tensors.get(leaf)
        if found is not None and found.shape == expected.shape and found.dtype == expected.dtype:
            continue
        got = "none" if found is None else f"{tuple(found.shape)} {found.dtype}"
        raise InputError(
            f"checkpoint leaf {leaf!r} of shape {tuple(expected.shape)} {expected.dtype}",
            got,
            f"this checkpoint belongs to another architecture or rule, or lost a part: {_ANEW}",
        )
    if surplus := sorted(set(tensors) - set(template)):
        raise InputError(
            "a checkpoint of this architecture and rule",
            f"the surplus leaf {surplus[0]!r}",
            _ANEW,
        )
