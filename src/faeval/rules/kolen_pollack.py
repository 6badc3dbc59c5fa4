"""Kolen–Pollack: feedback that gets the updates of the weights (Kolen & Pollack 1994)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from faeval.core.reading import Diagnostic
from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule, backward_credit
from faeval.rules.learning import learn, learnable
from faeval.rules.transposes import agreement, drawn_matrices, replaceable_layers, run_through_own


@RULES.register("kolen_pollack")
@dataclass(frozen=True)
class KolenPollack(Rule):
    """δ ↦ Bᵀδ in place of W, in every weight layer of the blocks and the head; B has the shape
    of W, starts at U(−1/√n, 1/√n) with n inputs to a unit, and takes every step that W takes:
    the AdamW step of W's own gradient, decay included (Kolen & Pollack 1994; Akrout et al. 2019,
    arXiv 1904.05391, section 4, there for gradient descent).

    Equal gradients give equal moments and equal steps, so that after T steps

        W_T − B_T = (W_0 − B_0) · Π_t (1 − η_t wd)

    whatever the data. The recipe's weight decay thus sets the pace. While Σ_t η_t wd is far below
    1 (20 epochs of digit-sums at wd = 0.01: 0.03) B keeps its initial distance, and turns towards
    W only as far as what both have learned outgrows it: cosine 0.85. At wd = 1 it is 0.998. A
    layer that is not trained leaves B as it is.

    a_l is what the backward pass meets at h_l, of its shape. `init` raises InputError where
    the blocks hold no weight layer.
    """

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="nothing",
            granularity="layer",
            equals_bp="the weight decay has acted for long: Σ η_t wd → ∞",
            end_to_end=True,
            feedback="learned",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        return learnable(drawn_matrices(model, generator))

    def run(self, model: Staged, feedback: Feedback, x: Tensor, y: Tensor) -> Trace:
        return run_through_own(model, feedback, x, y)

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return backward_credit(trace)

    def diagnostics(self, model: Staged, trace: Trace, feedback: Feedback) -> list[Diagnostic]:
        """cos(B, W) over all elements of a layer: the lowest and the highest of all layers."""
        return agreement(model, feedback)

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
        gradients = {
            f"B.{name}": layer.weight.grad
            for name, layer in replaceable_layers(model).items()
            if layer.weight.grad is not None
        }
        learn(feedback, gradients, learning_rate=learning_rate, weight_decay=weight_decay)
