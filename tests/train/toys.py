"""Small trials: a data set of a few images, registered for the length of a test."""

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from faeval.core.random import generator
from faeval.core.registry import Registry
from faeval.core.trial import Recipe, Trial
from faeval.data import Dataset, Source, Split
from faeval.models import Architecture, Staged
from faeval.train.state import TrainState, fresh, snapshot
from faeval.train.trial import run_trial

NAME, CLASSES = "toy-images", 4
CPU = torch.device("cpu")


def toy(data_dir: Path | None = None) -> Dataset:
    """21 training and 11 test images of 2×4×4. The folder `other` stands for other data,
    and `huge` for data that leave the range of float32."""
    kind = "" if data_dir is None else data_dir.name
    draw = generator(1 if kind == "other" else 0, "toy")

    def split(samples: int) -> Split:
        x = torch.randint(256, (samples, 2, 4, 4), generator=draw, dtype=torch.uint8)
        return Split(x, torch.randint(CLASSES, (samples,), generator=draw))

    return Dataset(
        name=NAME, train=split(21), test=split(11), classes=CLASSES,
        fingerprint=f"{kind or 'toy':->16}", mean=torch.tensor([0.4, 0.5]),
        std=torch.tensor([1e-40, 1e-40] if kind == "huge" else [0.3, 0.25]),
        crop_padding=1, flip=True,
    )  # fmt: skip


SOURCE = Source("a few random images", toy)


@contextmanager
def registered(registry: Registry, name: str, entry):
    """`entry` under `name` in `registry`, and out of it afterwards."""
    name in registry.items()  # noqa: B015 — whatever joins by entry point has joined before
    registry.register(name)(entry)
    try:
        yield
    finally:
        registry._entries.pop(name)


RECIPE = {"epochs": 4, "batch_size": 8, "reading_images": 6}


def toy_trial(
    rule: str | dict = "dfa", model: str = "resmlp", *, width: int = 6, depth: int = 2, **changes
) -> Trial:
    recipe = RECIPE | {k: changes.pop(k) for k in list(changes) if k in Recipe.model_fields}
    sizes = {"width": width} if model == "resmlp" else {}
    fields = {
        "data": NAME,
        "model": {"name": model, "depth": depth, **sizes},
        "rule": {"name": rule} if isinstance(rule, str) else rule,
        "penalty": 0.01,
        "trainable_blocks": min(2, depth),
        "recipe": Recipe(**recipe),
        "seed": 3,
    }
    return Trial(**(fields | changes))


def run(trial: Trial, folder: Path, *, data: str | None = None, **options):
    data_dir = None if data is None else Path(data)
    return run_trial(trial, folder, data_dir=data_dir, device="cpu", **options)


def stop_at(*epochs: int):
    """A `stop` that answers True when it is asked for the n-th time, n in `epochs`."""
    asked = iter(range(1, 1_000))
    return lambda: next(asked) in epochs


def fresh_state(trial: Trial, dataset: Dataset | None = None) -> TrainState:
    dataset = dataset or toy()
    return fresh(trial, dataset.input_shape, dataset.classes, CPU)


def frozen_snapshot(state: TrainState) -> tuple[dict[str, Tensor], dict]:
    """A snapshot that later steps leave alone."""
    tensors, position = snapshot(state)
    return {name: t.detach().clone() for name, t in tensors.items()}, position


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Overflowing(nn.Module):
    """Infinite from the third call in training on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.calls = 0

    def forward(self, h: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(h) * (torch.inf if self.calls >= 3 else 1)


class Squashed(nn.Module):
    """Hides an infinite input: tanh(∞) = 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, h: Tensor) -> Tensor:
        return self.linear(h.tanh().nan_to_num())


def hiding(at: int):
    """An architecture of two blocks whose h_`at` becomes infinite, which the next stage hides."""

    class Hiding(Architecture):
        def build(self, input_shape, classes, generator):
            stages: list[nn.Module] = [Squashed(6, 6), Squashed(6, 6)]
            stages[at - 1] = Overflowing(6)
            return Staged(
                nn.Sequential(nn.Flatten(), nn.Linear(32, 6)), stages, Squashed(6, classes),
                state_shapes=[(6,)] * 3, classes=classes, residual=False,
            )  # fmt: skip

    return dataclass(frozen=True)(Hiding)
