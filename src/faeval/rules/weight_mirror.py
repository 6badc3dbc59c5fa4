"""Weight mirror: feedback that learns the weights from noise sent through them (Akrout 2019)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.core.reading import Diagnostic
from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule, backward_credit
from faeval.rules.transposes import (
    Layer,
    agreement,
    drawn_matrices,
    replaceable_layers,
    run_through_own,
)


@RULES.register("weight_mirror")
@dataclass(frozen=True)
class WeightMirror(Rule):
    """δ ↦ Bᵀδ in place of W, in every weight layer of the blocks and the head. B, of the shape
    of W (out, in), starts at U(−1/√n, 1/√n) with n inputs to a unit, and learns from noise: once
    per batch x_k ~ N(0, I_n), k = 1 … K, pass the layer without bias, y_k = W x_k, and

        B ← (1 − r) B + r · (1/K) Σ_k y_k x_kᵀ

    (Akrout et al. 2019, arXiv 1904.05391, eq. 7, with the gain equal to the decay). As
    E[y xᵀ] = W, the mean of B approaches W itself, norm included, like (1 − r)^t. For W at rest
    the entries of B end with the variance r/(2 − r) · (‖w_i‖² + W_ij²)/K, w_i being row i:

        cos(B, W) → (1 + r (n + 1) / ((2 − r) K))^−½

    which the defaults put at 0.98 for n = 256, within some 3/r = 150 steps. A smaller r is more
    exact and lags more behind weights that move. A convolution mirrors its kernel as the matrix
    over patches, n = in/groups · kh · kw. Layers that are not trained are mirrored as well.

    rate     r
    samples  K, noise vectors per layer and batch

    a_l is what the backward pass meets at h_l, of its shape. `init` raises InputError where
    the blocks hold no weight layer.
    """

    rate: Annotated[float, Field(gt=0, le=1)] = 0.02
    samples: Annotated[int, Field(ge=1)] = 64

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="nothing",
            granularity="layer",
            equals_bp="many noise samples: rate / samples → 0, with weights that move slowly",
            end_to_end=True,
            feedback="learned",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        return drawn_matrices(model, generator)

    def run(self, model: Staged, feedback: Feedback, x: Tensor, y: Tensor) -> Trace:
        return run_through_own(model, feedback, x, y)

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return backward_credit(trace)

    def diagnostics(self, model: Staged, trace: Trace, feedback: Feedback) -> list[Diagnostic]:
        """cos(B, W) over all elements of a layer: the lowest and the highest of all layers."""
        return agreement(model, feedback)

    @torch.no_grad()
    def update(
        self,
        model: Staged,
        trace: Trace,
        feedback: Feedback,
        *,
        learning_rate: float,
        weight_decay: float,
        generator: torch.Generator,
    ) -> None:
        for name, layer in replaceable_layers(model).items():
            B = feedback[f"B.{name}"]
            x = torch.randn(self.samples, *B.shape[1:], generator=generator).to(B)
            matrix, y = B.view(len(B), -1), _passed(layer, x)
            matrix.addmm_(y.T, x.flatten(1), beta=1 - self.rate, alpha=self.rate / self.samples)


def _passed(layer: Layer, x: Tensor) -> Tensor:
    """y (K, out) of noise x (K, in, …): what comes of it on its way through the layer."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, layer.weight)
    # A patch of the kernel's size has one output per channel: padding, stride and dilation
    # decide which patches the layer sees, not what it makes of one.
    every_group = x.repeat(1, layer.groups, 1, 1)
    return F.conv2d(every_group, layer.weight, groups=layer.groups).flatten(1)
