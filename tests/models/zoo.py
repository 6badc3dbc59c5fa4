"""One small network of every registered architecture, and a batch that it takes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from faeval.core.random import generator
from faeval.models import CNN, LQ, Architecture, ResMLP, ResNet, Staged, Student, ViTMini

CLASSES, SAMPLES = 4, 5


@dataclass(frozen=True)
class Small:
    config: Architecture
    input_shape: tuple[int, ...]
    states: list[tuple[int, ...]]
    parameters: int
    real_targets: bool = False


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


ZOO = {
    "resmlp": Small(
        ResMLP(width=6, depth=2, w2_std=0.3),
        (5,),
        [(6,)] * 3,
        _linear(5, 6) + 2 * (12 + 2 * _linear(6, 6)) + 12 + _linear(6, 4),
    ),
    "student": Small(
        Student(width=6, depth=2, alpha=0.7),
        (5,),
        [(6,)] * 3,
        _linear(5, 6) + 4 * _linear(6, 6) + _linear(6, 4),
    ),
    "lq": Small(LQ(depth=3, std=0.3), (4,), [(4,)] * 4, 3 * 16, real_targets=True),
    "vit-mini": Small(
        ViTMini(width=8, depth=2, heads=2, patch=2, mlp_ratio=3),
        (2, 4, 6),
        [(7, 8)] * 3,
        _linear(2 * 4, 8) + 8 + 7 * 8  # patches, cls, positions
        + 2 * (16 + _linear(8, 24) + _linear(8, 8) + 16 + _linear(8, 24) + _linear(24, 8))
        + 16 + _linear(8, 4),
    ),
    "cnn": Small(
        CNN(width=3, depth=2),
        (2, 8, 16),
        [(3, 4, 8), (6, 2, 4), (12, 1, 2)],
        9 * (2 * 3 + 3 * 6 + 6 * 12) + 2 * (3 + 6 + 12) + _linear(24, 4),
    ),
    "resnet": Small(
        ResNet(width=3, depth=3),
        (2, 4, 6),
        [(3, 4, 6), (3, 4, 6), (6, 2, 3), (6, 2, 3)],
        9 * 2 * 3 + (12 + 18 * 9) + (6 + 12 + 9 * (18 + 36) + 18) + (24 + 18 * 36)
        + 12 + _linear(6, 4),
    ),
}  # fmt: skip


def build(name: str, seed: int = 0) -> Staged:
    """In training mode, in float64, with no parameter at a special value such as 0 or 1."""
    small = ZOO[name]
    model = small.config.build(small.input_shape, CLASSES, generator(seed, "weights")).double()
    draw = generator(seed, "noise")
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=draw, dtype=p.dtype)
    return model


def batch(name: str, samples: int = SAMPLES, seed: int = 0) -> tuple[Tensor, Tensor]:
    small, draw = ZOO[name], generator(seed, "batch")
    x = torch.randn(samples, *small.input_shape, generator=draw, dtype=torch.float64)
    if small.real_targets:
        return x, torch.randn(samples, CLASSES, generator=draw, dtype=torch.float64)
    return x, torch.randint(CLASSES, (samples,), generator=draw)
