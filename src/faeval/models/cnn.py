"""Small CNN with BatchNorm and no LayerNorm before the head (arXiv 2606.21126)."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from faeval.models.base import MODELS, Architecture
from faeval.models.images import image_shape
from faeval.models.layers import conv, linear
from faeval.models.staged import Staged


def normed_after(inputs: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    """pool(relu(BN(conv 3×3))): (N, C, H, W) → (N, C', H/2, W/2)."""
    # Pooling first is the same, for ReLU is monotone, and leaves it a quarter of the work.
    return nn.Sequential(
        conv(inputs, outputs, 3, generator, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.MaxPool2d(2),
        nn.ReLU(),
    )


def normed_before(inputs: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    """pool(conv 3×3(relu(BN))): (N, C, H, W) → (N, C', H/2, W/2)."""
    return nn.Sequential(
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        conv(inputs, outputs, 3, generator, padding=1, bias=False),
        nn.MaxPool2d(2),
    )


@MODELS.register("cnn")
@dataclass(frozen=True)
class CNN(Architecture):
    """1 + L stages of conv 3×3, BN, ReLU, pool, each halving the sides; then one linear layer.

    width  channels of the stem's stage; every block doubles them
    depth  L: the stem is the first stage, the blocks are the others, so that the published
           network of three convolutions has L = 2
    norm   after: h_{l+1} = pool(relu(BN(conv h_l))), which bounds every state;
           before: h_{l+1} = pool(conv(relu(BN h_l))), whose states may grow, and a stem
           pool(conv x)

    No residual: h_{l+1} = f_l(h_l), of shape (width·2^l, H/2^{l+1}, W/2^{l+1}) for l = 0 … L.
    """

    width: Annotated[int, Field(ge=1)] = 64
    depth: Annotated[int, Field(ge=1)] = 2
    norm: Literal["after", "before"] = "after"

    def build(
        self, input_shape: tuple[int, ...], classes: int, generator: torch.Generator
    ) -> Staged:
        channels, height, side = image_shape(input_shape, "cnn", 2 ** (self.depth + 1))
        widths = [self.width * 2**l for l in range(self.depth + 1)]
        shapes = [(w, height >> (l + 1), side >> (l + 1)) for l, w in enumerate(widths)]
        features = shapes[-1][0] * shapes[-1][1] * shapes[-1][2]
        stage = normed_after if self.norm == "after" else normed_before
        stem = stage(channels, widths[0], generator)
        return Staged(
            stem if self.norm == "after" else stem[2:],
            [stage(widths[l], widths[l + 1], generator) for l in range(self.depth)],
            nn.Sequential(nn.Flatten(), linear(features, classes, generator)),
            state_shapes=shapes,
            classes=classes,
            residual=False,
        )
