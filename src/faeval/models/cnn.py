"""Small CNN with BatchNorm and no normalisation before the head (arXiv 2606.21126)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from faeval.models.base import MODELS, Architecture
from faeval.models.images import image_shape
from faeval.models.layers import conv, linear
from faeval.models.staged import Staged


def stage(inputs: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    """pool(relu(BN(conv 3×3))): (N, C, H, W) → (N, C', H/2, W/2)."""
    # Pooling first is the same, for ReLU is monotone, and leaves it a quarter of the work.
    return nn.Sequential(
        conv(inputs, outputs, 3, generator, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.MaxPool2d(2),
        nn.ReLU(),
    )


@MODELS.register("cnn")
@dataclass(frozen=True)
class CNN(Architecture):
    """1 + L stages pool(relu(BN(conv 3×3))), each halving the sides; then one linear layer.

    width  channels of the stem's stage; every block doubles them
    depth  L: the stem is the first stage, the blocks are the others, so that the published
           network of three convolutions has L = 2

    No residual: h_{l+1} = f_l(h_l), of shape (width·2^l, H/2^{l+1}, W/2^{l+1}) for l = 0 … L.
    """

    width: Annotated[int, Field(ge=1)] = 64
    depth: Annotated[int, Field(ge=1)] = 2

    def build(
        self, input_shape: tuple[int, ...], classes: int, generator: torch.Generator
    ) -> Staged:
        channels, height, side = image_shape(input_shape, "cnn", 2 ** (self.depth + 1))
        widths = [self.width * 2**l for l in range(self.depth + 1)]
        shapes = [(w, height >> (l + 1), side >> (l + 1)) for l, w in enumerate(widths)]
        features = shapes[-1][0] * shapes[-1][1] * shapes[-1][2]
        return Staged(
            stage(channels, widths[0], generator),
            [stage(widths[l], widths[l + 1], generator) for l in range(self.depth)],
            nn.Sequential(nn.Flatten(), linear(features, classes, generator)),
            state_shapes=shapes,
            classes=classes,
            residual=False,
        )
