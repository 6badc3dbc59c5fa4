"""Pre-LN residual MLP: the architecture of the published runs (arXiv 2606.21126)."""

from dataclasses import dataclass
from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.models.base import MODELS, Architecture
from faeval.models.layers import linear
from faeval.models.staged import Staged


class Block(nn.Module):
    """f(h) = W2 · gelu(W1 · LN(h)), all d×d with bias."""

    def __init__(self, width: int, w2_std: float, generator: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.w1 = linear(width, width, generator)
        self.w2 = linear(width, width, generator, std=w2_std)

    def forward(self, h: Tensor) -> Tensor:
        return self.w2(F.gelu(self._w1_of_norm(h)))

    def _w1_of_norm(self, h: Tensor) -> Tensor:
        norm, w1 = self.norm, self.w1
        if h.requires_grad:
            return w1(norm(h))
        # Taught locally, nothing needs the gradient at LN's output but its own gain and bias.
        # Folded into W1 they get theirs from W1's, without a product over the batch.
        standardised = F.layer_norm(h, norm.normalized_shape, eps=norm.eps)
        bias = torch.addmv(w1.bias, w1.weight, norm.bias)
        return F.linear(standardised, w1.weight * norm.weight, bias)


@MODELS.register("resmlp")
@dataclass(frozen=True)
class ResMLP(Architecture):
    """stem Linear(inputs, d) on the flattened input; L blocks; optional LN; Linear(d, C).

    width          d
    depth          L
    terminal_norm  a LayerNorm between the last state and the head
    residual       h ← h + f(h); without it h ← f(h)
    w2_std         standard deviation of W2's initial entries (bias zero); the other
                   weights have torch's defaults
    """

    width: Annotated[int, Field(ge=1)] = 256
    depth: Annotated[int, Field(ge=1)] = 4
    terminal_norm: bool = True
    residual: bool = True
    w2_std: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01

    def build(
        self, input_shape: tuple[int, ...], classes: int, generator: torch.Generator
    ) -> Staged:
        d = self.width
        stem = nn.Sequential(nn.Flatten(), linear(prod(input_shape), d, generator))
        blocks = [Block(d, self.w2_std, generator) for _ in range(self.depth)]
        last = linear(d, classes, generator)
        return Staged(
            stem,
            blocks,
            nn.Sequential(nn.LayerNorm(d), last) if self.terminal_norm else last,
            state_shapes=[(d,)] * (self.depth + 1),
            classes=classes,
            residual=self.residual,
        )
