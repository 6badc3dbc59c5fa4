"""Equilibrium propagation (Scellier & Bengio 2017) with the symmetric nudge of Laborieux et al.
2021 (arXiv 2101.05536), on the energy of a feed-forward network."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from faeval.core.reading import Diagnostic
from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule, diagnostic

CONVERGED = 0.1  # of the nudge: more is left, and the credit is not that of the relaxed states


@RULES.register("eqprop")
@dataclass(frozen=True)
class EqProp(Rule):
    """a_l = −(ε_l(+β) − ε_l(−β)) / 2β, shape of h_l, per sample, from the energy

        E(h_1 … h_L) = Σ_l ½‖ε_l‖² + β ℓ(head(h_L), y),   ε_l = h_l − F_{l-1}(h_{l-1}),

    with h_0 clamped at the stem's output and F_l the network's own map h_l → h_{l+1}. At β = 0
    the minimum is the forward pass (E = 0): the free phase costs nothing. At ±β the states
    relax to ∂E/∂h_l = 0, that is

        ε_L = −β g_L(h_L),   ε_l = J_l(h_l)ᵀ ε_{l+1},   J_l = ∂F_l/∂h_l,

    and h_0 is credited with the pull J_0ᵀ ε_1 on it. The pull of the states above passes through
    the transposed Jacobians: the energy's forces are symmetric, which transports all weights.

    Why a_l suffices. The estimate of the gradient of θ in F_l is that of equilibrium propagation,
    (∂E/∂θ(+β) − ∂E/∂θ(−β)) / 2β with ∂E/∂θ = −(∂F_l/∂θ)ᵀ ε_{l+1} at the relaxed states. To the
    order of β², ε(±β) = ∓β g + β² c and (∂F_l/∂θ)(±β) = D ± β D′ for some c and D′; in the odd
    part the products of D′ are of order β³, and Dᵀ a_{l+1} + O(β²) is left: the
    vector–Jacobian product at the free states that teaches every block. With a linear network,
    ½‖·‖² and head C the bias is known: a_L = (1 − β² (CᵀCK)²)⁻¹ g_L, with K = Σ_l A_l A_lᵀ over
    l = 1 … L and A_l = J_{L-1} … J_l.

    beta        strength of the nudge; the bias of a_l is of order β²
    iterations  of the relaxation in each nudged phase, after the L that carry the nudge down
                to h_0
    step        its step size: 1 follows the pull at once, less damps. See `relax`.
    """

    beta: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    iterations: Annotated[int, Field(ge=0)] = 4
    step: Annotated[float, Field(gt=0, le=1)] = 1.0

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="all",
            granularity="block",
            equals_bp="β → 0, relaxed to the end",
            feedback="none",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        return {}

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        up, down = self.nudged(trace)
        return [(b - a) / (2 * self.beta) for a, b in zip(up.errors, down.errors, strict=True)]

    def diagnostics(self, model: Staged, trace: Trace, feedback: Feedback) -> list[Diagnostic]:
        """The residual of the relaxation (see `Relaxed`) in the worse phase of each sample: the
        median over the samples that have a gradient, and the largest. The free phase needs none:
        it is the forward pass."""
        residual = torch.maximum(*(phase.residual for phase in self.nudged(trace)))
        pulled = _norms([_terminal_gradient(trace, trace.states[-1])]) > 0
        rest = residual[pulled].nan_to_num(nan=inf)
        if not len(rest):
            return []
        steps = len(trace.states) - 1 + self.iterations
        name = f"residual of the nudged phases after {steps} iterations"
        return [
            diagnostic(f"{name}, median", rest.median().item(), CONVERGED),
            diagnostic("largest", rest.max().item()),
        ]

    def nudged(self, trace: Trace) -> tuple["Relaxed", "Relaxed"]:
        """The phases at +β and −β."""
        depth = len(trace.states) - 1
        up, down = (
            relax(trace, nudge, iterations=depth + self.iterations, step=self.step)
            for nudge in (self.beta, -self.beta)
        )
        return up, down


@dataclass(frozen=True)
class Relaxed:
    """Where a nudged phase ended.

    states    h_0 … h_L, each (N, …); h_0 is clamped
    errors    ε_1 … ε_L, preceded by the pull J_0ᵀ ε_1 on the clamped state
    residual  ‖(∂E/∂h_1 … ∂E/∂h_L)‖ / β‖g_L‖ per sample, (N,): 1 at the free states, 0 at the
              minimum, above 1 where the relaxation diverges. NaN for a sample without gradient
    """

    states: tuple[Tensor, ...]
    errors: tuple[Tensor, ...]
    residual: Tensor


def relax(trace: Trace, nudge: float, *, iterations: int, step: float) -> Relaxed:
    """Relax the energy of `EqProp` at β = `nudge` (of either sign) from the free states of `trace`:

        ε_l ← ε_l − step · ∂E/∂h_l  for all l at once,   h_l = F_{l-1}(h_{l-1}) + ε_l.

    Every state descends the energy by what its two neighbours tell it, in a frame that moves with
    the prediction from below. The ε are kept, never formed as differences of states: where
    a residual stream of 1e5 is nudged by 1e-7 these would be rounding alone. In this frame the
    linearised relaxation is nilpotent at step 1 (the nudge descends one state per iteration,
    and to first order in β is then exact, as in backpropagation); what remains contracts
    like |β| ‖∇²ℓ‖ ‖K‖ per round, and diverges above 1, where a smaller step helps only β > 0.
    """
    depth = len(trace.states) - 1
    states = [h.detach() for h in trace.states]
    errors = [torch.zeros_like(h) for h in states]
    pulls, nudged = list(errors), torch.zeros_like(trace.loss)
    for iteration in range(iterations + 1):
        # Below, neither the states nor the pulls on them differ from the free phase yet.
        for l in range(max(0, depth - iteration), depth):
            h, pulls[l] = _vjp(trace.maps[l], states[l], errors[l + 1])
            states[l + 1] = h + errors[l + 1]
        pulls[depth] = -nudge * _terminal_gradient(trace, states[depth])
        if iteration == 0:
            nudged = _norms(pulls[depth:])
        if iteration < iterations:
            errors = [e + step * (p - e) for e, p in zip(errors, pulls, strict=True)]
    forces = [p - e for p, e in zip(pulls[1:], errors[1:], strict=True)]
    return Relaxed(tuple(states), (pulls[0], *errors[1:]), _norms(forces) / nudged)


def _vjp(
    function: Callable[[Tensor], Tensor], h: Tensor, cotangent: Tensor
) -> tuple[Tensor, Tensor]:
    """F(h) and J(h)ᵀ cotangent, without graph."""
    with torch.enable_grad():
        h = h.detach().requires_grad_()
        out = function(h)
        return out.detach(), torch.autograd.grad(out, h, cotangent)[0]


def _terminal_gradient(trace: Trace, h: Tensor) -> Tensor:
    """∂ℓ_n/∂h at the state h in the place of h_L."""
    assert trace.loss_of is not None
    with torch.enable_grad():
        h = h.detach().requires_grad_()
        return torch.autograd.grad(trace.loss_of(trace.maps[-1](h)).sum(), h)[0]


def _norms(tensors: list[Tensor]) -> Tensor:
    """Norm per sample of all tensors together, (N,); safe where squares would underflow."""
    flat = torch.cat([t.flatten(1) for t in tensors], dim=1)
    top = flat.abs().amax(1, keepdim=True)
    scaled = torch.where(top > 0, flat / top, 0.0)
    return scaled.norm(dim=1) * top[:, 0]
