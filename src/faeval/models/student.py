"""StudentNet of the teacher–student task (arXiv 2606.21126): linear to tanh, without any LN."""

from dataclasses import dataclass
from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from faeval.models.base import MODELS, Architecture
from faeval.models.layers import linear
from faeval.models.staged import Staged


class Block(nn.Module):
    """f(h) = W2 · φ(W1 · h),  φ(z) = (1 − α) z + α tanh(z)."""

    def __init__(self, width: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        self.alpha = alpha
        self.w1 = linear(width, width, generator)
        self.w2 = linear(width, width, generator)

    def forward(self, h: Tensor) -> Tensor:
        return self.w2(torch.lerp(z := self.w1(h), z.tanh(), self.alpha))


@MODELS.register("student")
@dataclass(frozen=True)
class Student(Architecture):
    """Stem Linear(inputs, d); L blocks h ← h + W2 · φ(W1 · h); head Linear(d, C); no LN.

    width     d
    depth     L
    alpha     α of φ(z) = (1 − α) z + α tanh(z): at 0 the whole network is linear
    residual  h ← h + f(h); without it h ← f(h)
    """

    width: Annotated[int, Field(ge=1)] = 128
    depth: Annotated[int, Field(ge=1)] = 4
    alpha: Annotated[float, Field(ge=0, le=1)] = 1.0
    residual: bool = True

    def build(
        self, input_shape: tuple[int, ...], classes: int, generator: torch.Generator
    ) -> Staged:
        d = self.width
        return Staged(
            nn.Sequential(nn.Flatten(), linear(prod(input_shape), d, generator)),
            [Block(d, self.alpha, generator) for _ in range(self.depth)],
            linear(d, classes, generator),
            state_shapes=[(d,)] * (self.depth + 1),
            classes=classes,
            residual=self.residual,
        )
