"""Small residual network with BatchNorm (pre-activation: He et al. 2016, arXiv 1603.05027)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.models.base import MODELS, Architecture
from faeval.models.images import image_shape
from faeval.models.layers import conv, linear
from faeval.models.staged import Staged


class Block(nn.Module):
    """f(h) = conv(relu(BN(conv(z)))) with z = relu(BN(h)), 3×3, same shape as h."""

    def __init__(
        self, inputs: int, outputs: int, generator: torch.Generator, stride: int = 1
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv(inputs, outputs, 3, generator, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3, generator, padding=1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        return self.residual(F.relu(self.norm1(h)))

    def residual(self, z: Tensor) -> Tensor:
        """The two convolutions, from z = relu(BN(h)) on."""
        return self.conv2(F.relu(self.norm2(self.conv1(z))))


class DownBlock(Block):
    """f(h) = P z + conv(relu(BN(conv(z)))): half the sides, twice the channels.

    The 1×1 projection P stands in for the identity, whose shape no longer fits; it belongs to
    the branch, and the block has no residual.
    """

    def __init__(self, inputs: int, generator: torch.Generator) -> None:
        super().__init__(inputs, 2 * inputs, generator, stride=2)
        self.projection = conv(inputs, 2 * inputs, 1, generator, stride=2, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        z = F.relu(self.norm1(h))
        return self.projection(z) + self.residual(z)


@MODELS.register("resnet")
@dataclass(frozen=True)
class ResNet(Architecture):
    """stem conv 3×3; L blocks; head relu(BN), mean over pixels, linear.

    width  channels of the stem
    depth  L: blocks 0, 2, 4, … keep the shape and have an identity shortcut; blocks 1, 3, …
           halve the sides and double the channels, and have none
    """

    width: Annotated[int, Field(ge=1)] = 16
    depth: Annotated[int, Field(ge=1)] = 4

    def build(
        self, input_shape: tuple[int, ...], classes: int, generator: torch.Generator
    ) -> Staged:
        halvings = self.depth // 2
        channels, height, side = image_shape(input_shape, "resnet", 2**halvings)
        stem = conv(channels, self.width, 3, generator, padding=1, bias=False)
        shapes, blocks = [(self.width, height, side)], []
        for l in range(self.depth):
            c, h, w = shapes[-1]
            down = l % 2 == 1
            blocks.append(DownBlock(c, generator) if down else Block(c, c, generator))
            shapes.append((2 * c, h // 2, w // 2) if down else (c, h, w))
        last = shapes[-1][0]
        head = nn.Sequential(
            nn.BatchNorm2d(last),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            linear(last, classes, generator),
        )
        return Staged(
            stem,
            blocks,
            head,
            state_shapes=shapes,
            classes=classes,
            residual=[l % 2 == 0 for l in range(self.depth)],
        )
