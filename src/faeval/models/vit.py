"""ViT-mini: a small vision transformer with a class token (arXiv 2010.11929)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.core.errors import InputError
from faeval.models.base import MODELS, Architecture
from faeval.models.images import image_shape
from faeval.models.layers import conv, linear
from faeval.models.staged import Staged

TOKEN_STD = 0.02


class Tokens(nn.Module):
    """Images (N, C, H, W) → tokens (N, 1 + HW/p², d): [cls, W·patch_1, …] + positions."""

    def __init__(
        self, shape: tuple[int, int, int], patch: int, width: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        channels, height, side = shape
        self.patches = conv(channels, width, patch, generator, stride=patch)
        count = 1 + height * side // patch**2
        self.cls = nn.Parameter(TOKEN_STD * torch.randn(1, 1, width, generator=generator))
        self.positions = nn.Parameter(TOKEN_STD * torch.randn(1, count, width, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        return torch.cat([self.cls.expand(len(x), -1, -1), patches], dim=1) + self.positions


class Attention(nn.Module):
    """z ↦ W_o · concat_heads(softmax(q kᵀ/√(d/H)) v) with q, k, v = W_qkv z."""

    def __init__(self, width: int, heads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = linear(width, 3 * width, generator)
        self.out = linear(width, width, generator)

    def forward(self, z: Tensor) -> Tensor:
        # (N, T, 3d) → q, k, v of shape (N, H, T, d/H) each
        q, k, v = self.qkv(z).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """f(h) = a + W2 · gelu(W1 · LN(h + a)) with a = attention(LN(h)).

    The two sub-layers of a transformer block as one branch: h + f(h) is what they make of h
    one after the other.
    """

    def __init__(self, width: int, heads: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, generator)
        self.norm2 = nn.LayerNorm(width)
        self.w1 = linear(width, hidden, generator)
        self.w2 = linear(hidden, width, generator)

    def forward(self, h: Tensor) -> Tensor:
        a = self.attention(self.norm1(h))
        return a + self.w2(F.gelu(self.w1(self.norm2(h + a))))


class ClassToken(nn.Module):
    """Logits from the first token: W · LN(h[:, 0])."""

    def __init__(self, width: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = linear(width, classes, generator)

    def forward(self, h: Tensor) -> Tensor:
        return self.linear(self.norm(h[:, 0]))


@MODELS.register("vit-mini")
@dataclass(frozen=True)
class ViTMini(Architecture):
    """Pre-LN transformer on patches; states (T, d) with T = 1 + HW/patch² tokens, cls first.

    width      d
    depth      L blocks, attention and MLP in one branch each
    heads      of the attention; divides d
    patch      side of a patch in pixels; divides H and W
    mlp_ratio  hidden width of the MLP in units of d

    The head reads the cls token alone: the gradient at h_L is zero at every other token.
    """

    width: Annotated[int, Field(ge=1)] = 128
    depth: Annotated[int, Field(ge=1)] = 4
    heads: Annotated[int, Field(ge=1)] = 4
    patch: Annotated[int, Field(ge=1)] = 4
    mlp_ratio: Annotated[int, Field(ge=1)] = 4

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise InputError(
                "a width that is a multiple of heads",
                f"width {self.width} and heads {self.heads}",
                "change one of the two",
            )

    def build(
        self, input_shape: tuple[int, ...], classes: int, generator: torch.Generator
    ) -> Staged:
        shape = image_shape(input_shape, "vit-mini", self.patch)
        d = self.width
        stem = Tokens(shape, self.patch, d, generator)
        blocks = [Block(d, self.heads, self.mlp_ratio * d, generator) for _ in range(self.depth)]
        return Staged(
            stem,
            blocks,
            ClassToken(d, classes, generator),
            state_shapes=[tuple(stem.positions.shape[1:])] * (self.depth + 1),
            classes=classes,
        )
