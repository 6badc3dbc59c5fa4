"""States of tokens and channels as positions with features."""

from math import prod
from typing import Literal

import torch
from torch import Tensor

from faeval.core.errors import InputError

Tokens = Literal["each", "broadcast"]
"""How random feedback reaches a state of several positions. `each`: every position has rows of
its own; `broadcast`: all share one matrix, so that each receives the same credit."""


def layout(shape: tuple[int, ...]) -> tuple[int, int]:
    """Positions P and features d of one sample's state: (1, d) of a vector (d,), (T, d) of
    tokens (T, d), (H·W, C) of channels (C, H, W). Raises InputError for another shape."""
    if len(shape) not in (1, 2, 3):
        raise InputError(
            "states of the shape (d,), (tokens, d) or (channels, height, width)",
            str(tuple(shape)),
            "choose another model",
        )
    if len(shape) == 3:
        return prod(shape[1:]), shape[0]
    return prod(shape[:-1]), shape[-1]


def by_position(h: Tensor) -> Tensor:
    """(N, …) as (N, P, d)."""
    if h.ndim == 4:
        return h.flatten(2).mT
    return h.view(len(h), *layout(h.shape[1:]))


def like_state(a: Tensor, shape: torch.Size) -> Tensor:
    """(N, P, d), or (N, 1, d) for the same at every position, in the `shape` (N, …) of a state."""
    positions, features = layout(shape[1:])
    a = a.expand(-1, positions, features)
    return (a.mT if len(shape) == 4 else a).reshape(shape)
