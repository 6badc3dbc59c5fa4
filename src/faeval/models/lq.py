"""A linear–quadratic control problem, whose costate (adjoint state) is known in closed form."""

from dataclasses import dataclass
from math import prod
from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from faeval.core.errors import InputError
from faeval.core.trace import Trace
from faeval.models.base import MODELS, Architecture
from faeval.models.layers import linear
from faeval.models.staged import Staged


@MODELS.register("lq")
@dataclass(frozen=True)
class LQ(Architecture):
    """Linear dynamics h_{l+1} = h_l + W_l h_l from h_0 = x, cost ½‖h_L − y‖² for real targets.

    depth  L, the number of steps
    std    of the initial entries of W_l ∈ R^{d×d}, which are all that is trained: the stem
           and the head have no parameters, and with every block frozen nothing learns

    Takes data with as many targets as inputs: `linear-quadratic`.
    """

    depth: Annotated[int, Field(ge=1)] = 4
    std: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01

    def build(
        self, input_shape: tuple[int, ...], classes: int, generator: torch.Generator
    ) -> Staged:
        d = prod(input_shape)
        if d != classes:
            raise InputError(
                "as many targets as inputs for the model 'lq'",
                f"{d} inputs and {classes} targets or classes",
                "choose the data set linear-quadratic",
            )
        return Staged(
            nn.Flatten(),
            [linear(d, d, generator, std=self.std, bias=False) for _ in range(self.depth)],
            nn.Identity(),
            state_shapes=[(d,)] * (self.depth + 1),
            classes=classes,
        )


@torch.no_grad()
def costates(model: Staged, trace: Trace) -> list[Tensor]:
    """The exact costates p_0 … p_L, each (N, d), of a network built by `LQ`:

        p_L = h_L − y,   p_l = (I + W_l)ᵀ p_{l+1},   so  p_l = Π_{k=l}^{L−1} (I + W_k)ᵀ (h_L − y)

    (products in the order of k). This is ∂(½‖h_L − y‖²)/∂h_l, by the adjoint equation of
    discrete-time optimal control (Pontryagin et al. 1962) and without any backward pass. For
    class labels, p_L is softmax − onehot instead.
    """
    found = [trace.error]
    for block in reversed(model.blocks):
        p = found[-1]
        found.append(p + p @ cast(nn.Linear, block).weight)
    return found[::-1]
