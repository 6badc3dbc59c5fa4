"""Layers whose initial weights come from a generator, not from global state."""

from typing import TypeVar

import torch
from torch import nn

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def linear(
    inputs: int,
    outputs: int,
    generator: torch.Generator,
    *,
    std: float | None = None,
    bias: bool = True,
) -> nn.Linear:
    """nn.Linear with torch's default initialisation, or W ~ N(0, std²) and zero bias."""
    empty = nn.Linear(inputs, outputs, bias=bias, device="meta")
    return _drawn(empty, inputs, generator, std)


def conv(
    inputs: int,
    outputs: int,
    kernel: int,
    generator: torch.Generator,
    *,
    stride: int = 1,
    padding: int = 0,
    bias: bool = True,
) -> nn.Conv2d:
    """nn.Conv2d (square kernel) with torch's default initialisation."""
    empty = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias, device="meta")
    return _drawn(empty, inputs * kernel**2, generator, None)


def _drawn(empty: Layer, fan_in: int, generator: torch.Generator, std: float | None) -> Layer:
    """Weight, then bias: uniform within 1/√fan_in, which is what torch's constructors draw."""
    layer = empty.to_empty(device="cpu")
    bound = fan_in**-0.5
    if std is None:
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    else:
        nn.init.normal_(layer.weight, 0.0, std, generator=generator)
    if layer.bias is not None:
        if std is None:
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        else:
            nn.init.zeros_(layer.bias)
    return layer
