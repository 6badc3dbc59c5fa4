"""What the rules of direct feedback share: one matrix from the output to each state."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import Feedback
from faeval.rules.positions import Tokens, layout, like_state

Draw = Callable[[int, int], Tensor]
"""A random matrix B of (rows, columns)."""


def gaussian(scale: float, generator: torch.Generator) -> Draw:
    """Entries N(0, scale²/columns), so that an entry of B e has the variance scale²‖e‖²/C."""

    def draw(rows: int, columns: int) -> Tensor:
        return scale / columns**0.5 * torch.randn(rows, columns, generator=generator)

    return draw


def rows(shape: tuple[int, ...], tokens: Tokens) -> int:
    """Rows of the B that reaches a tensor of `shape` (one sample): one for each element, or
    with `broadcast` for each feature. Raises InputError where `broadcast` knows no features."""
    return prod(shape) if tokens == "each" else layout(shape)[1]


def one_per_state(model: Staged, tokens: Tokens, draw: Draw) -> Feedback:
    """B_0 … B_L for the states h_0 … h_L."""
    return {
        f"B{l}": draw(rows(shape, tokens), model.classes)
        for l, shape in enumerate(model.state_shapes)
    }


def delivered(source: Tensor, B: Tensor, shape: torch.Size, tokens: Tokens) -> Tensor:
    """B s_n for every sample's source s (N, C), in the `shape` (N, …) of what it reaches."""
    a = source @ B.T
    return a.view(shape) if tokens == "each" else like_state(a[:, None], shape)


def to_states(source: Tensor, feedback: Feedback, trace: Trace, tokens: Tokens) -> list[Tensor]:
    """B_0 s_n … B_L s_n in the shapes of the states, with the B of `one_per_state`."""
    return [
        delivered(source, feedback[f"B{l}"], h.shape, tokens) for l, h in enumerate(trace.states)
    ]
