"""A small network that reads a state and its place, learned beside the network it watches.

Both bridges are built on it: `state_bridge.py` predicts h_L with it, `credit_bridge.py` a value.
"""

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from faeval.core.errors import InputError
from faeval.core.trace import Trace
from faeval.rules.base import Feedback
from faeval.rules.learning import learnable

LARGEST = 2**25
MEMORY = 10  # steps over which the scale of a state is averaged


def draw_predictor(
    shapes: Sequence[tuple[int, ...]], outputs: int, width: int, generator: torch.Generator
) -> Feedback:
    """The predictor p(x, l) = W_out gelu(W gelu(W_in x + E_l) + b) + b_out with its moments, and
    the scales S_0 … S_L that make h_l / S_l its input.

    A state is read whole, all its tokens or channels flattened to x ∈ R^{d_l}: what becomes of
    one of them depends on the others. States of one size share W_in, and E_l ∈ R^width tells
    them apart. It costs width · (Σ d_l over the different sizes + width + outputs) numbers, and
    InputError is raised where they would exceed `LARGEST`.
    """
    sizes = sorted({prod(shape) for shape in shapes})
    numbers = width * (sum(sizes) + width + outputs)
    if numbers > LARGEST:
        raise InputError(
            f"a predictor of at most {LARGEST:,} weights",
            f"{numbers:,} for states of {', '.join(map(str, sizes))} elements and width {width}",
            "lower the width, or choose a model of smaller states",
        )

    def normal(rows: int, columns: int, variance: float) -> Tensor:
        return torch.randn(rows, columns, generator=generator) * variance**0.5

    tensors = {f"in{size}": normal(width, size, 1 / size) for size in sizes}
    tensors |= {
        "place": normal(len(shapes), width, 0.25),
        "hidden": normal(width, width, 2 / width),
        "hidden_bias": torch.zeros(width),
        "out": normal(outputs, width, 1 / width),
        "out_bias": torch.zeros(outputs),
    }
    return {**learnable(tensors), "scale": torch.ones(len(shapes))}


def parameters(feedback: Feedback) -> dict[str, Tensor]:
    """The tensors of the predictor that are learned, sharing memory, ready for autograd."""
    names = [name.removeprefix("exp_avg.") for name in feedback if name.startswith("exp_avg.")]
    return {name: feedback[name].detach().requires_grad_() for name in names}


def predict(p: Mapping[str, Tensor], x: Tensor, state: int) -> Tensor:
    """p(x, l), (N, outputs), of states x (N, …) in units of their scale."""
    x = x.flatten(1)
    first = F.gelu(torch.addmm(p["place"][state], x, p[f"in{x.shape[1]}"].T))
    second = F.gelu(torch.addmm(p["hidden_bias"], first, p["hidden"].T))
    return torch.addmm(p["out_bias"], second, p["out"].T)


@torch.no_grad()
def follow_scales(feedback: Feedback, trace: Trace) -> None:
    """Move S_l towards the root mean square of h_l in this batch: a residual stream may grow by
    orders of magnitude in an epoch, and the predictor should not have to."""
    rms = torch.stack([h.square().mean().sqrt() for h in trace.states])
    move(feedback["scale"], rms, feedback["steps"])


@torch.no_grad()
def move(average: Tensor, value: Tensor, steps: Tensor) -> None:
    """A running average in place, over all of the first `MEMORY` steps and then about as many."""
    weight = (1 / (steps + 1)).clamp(min=1 / MEMORY)
    average += torch.where(value > 0, weight * (value - average), 0.0)
