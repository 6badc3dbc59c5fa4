"""All that changes while a trial trains: fresh, snapshot, restore."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from faeval.core import spec
from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.core.trial import Trial
from faeval.models import MODELS, Staged
from faeval.rules import RULES, Feedback, Rule

_BETWEEN = "."


@dataclass
class TrainState:
    """A trial in training. `generators` are the streams that training itself consumes."""

    model: Staged
    rule: Rule
    feedback: Feedback
    optimizer: torch.optim.Optimizer
    generators: dict[str, torch.Generator]
    epoch: int = 0
    step: int = 0
    parameters: dict[str, torch.nn.Parameter] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}


def fresh(
    trial: Trial, input_shape: tuple[int, ...], classes: int, device: torch.device
) -> TrainState:
    """The state before the first step. Weights, feedback, order and augmentation have a
    stream of the trial's seed each, so that trials which differ in rule, penalty or frozen
    blocks start from the same weights and see the same batches."""
    architecture = spec.build(MODELS, trial.model)
    rule = spec.build(RULES, trial.rule)
    model = architecture.build(input_shape, classes, generator(trial.seed, "weights"))
    model.freeze_blocks(trial.trainable_blocks)
    feedback = rule.init(model, generator(trial.seed, "feedback"))
    model.to(device)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=trial.recipe.learning_rate,
        weight_decay=trial.recipe.weight_decay,
        fused=True,
    )
    return TrainState(
        model,
        rule,
        {name: b.to(device) for name, b in feedback.items()},
        optimizer,
        {name: generator(trial.seed, name) for name in ("order", "augment")},
    )


def snapshot(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything that a later process needs to go on to the same bits: named tensors, and
    the position (finished epochs and steps, from which the schedule follows)."""
    parts = {
        "model": state.model.state_dict(),
        "feedback": state.feedback,
        "generator": {name: g.get_state() for name, g in state.generators.items()},
        "optimizer": {
            f"{name}{_BETWEEN}{key}": value
            for name, p in state.parameters.items()
            for key, value in state.optimizer.state[p].items()
        },
    }
    tensors = {
        f"{part}{_BETWEEN}{name}": t for part, named in parts.items() for name, t in named.items()
    }
    return tensors, {"epoch": state.epoch, "step": state.step}


def restore(state: TrainState, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
    """Bring a fresh state to where the snapshot was taken.

    Raises InputError that names the first leaf which is missing, surplus or of another shape;
    the state is then untouched.
    """
    moments = _optimizer_template(state) if position["step"] else {}
    template, _ = snapshot(state)
    template = {k: v for k, v in template.items() if not k.startswith("optimizer.")} | moments
    _match(template, tensors)

    def part(name: str) -> dict[str, Tensor]:
        prefix = name + _BETWEEN
        return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}

    state.model.load_state_dict(part("model"))
    device = next(iter(state.model.parameters())).device
    state.feedback = {name: t.to(device) for name, t in part("feedback").items()}
    for name, saved in part("generator").items():
        state.generators[name].set_state(saved)
    for key, saved in part("optimizer").items():
        name, _, entry = key.rpartition(_BETWEEN)
        p = state.parameters[name]
        state.optimizer.state[p][entry] = saved.to(device)
    state.epoch, state.step = position["epoch"], position["step"]


def _optimizer_template(state: TrainState) -> dict[str, Tensor]:
    entries = {"step": lambda p: torch.zeros(()), "exp_avg": lambda p: p, "exp_avg_sq": lambda p: p}
    return {
        _BETWEEN.join(("optimizer", name, key)): shaped(p)
        for name, p in state.parameters.items()
        for key, shaped in entries.items()
    }


def _match(template: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    for leaf, expected in template.items():
        found = tensors.get(leaf)
        if found is not None and found.shape == expected.shape and found.dtype == expected.dtype:
            continue
        got = "none" if found is None else f"{tuple(found.shape)} {found.dtype}"
        raise InputError(
            f"checkpoint leaf {leaf!r} of shape {tuple(expected.shape)} {expected.dtype}",
            got,
            "this checkpoint belongs to another architecture or rule, or lost a part: "
            "point at the right trial, or delete its folder to train it again",
        )
    if surplus := sorted(set(tensors) - set(template)):
        raise InputError(
            "a checkpoint of this architecture and rule",
            f"the surplus leaf {surplus[0]!r}",
            "point at the right trial, or delete its folder to train it again",
        )
