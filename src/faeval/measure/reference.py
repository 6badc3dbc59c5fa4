"""The true per-sample gradients at the states, in working precision and in float64."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Forward = Callable[[nn.Module, Tensor, Tensor], tuple[Sequence[Tensor], Tensor]]
"""(module, x, y) → states h_0 … h_L with graph, and the per-sample losses ℓ_n (N,)."""


@dataclass(frozen=True)
class Reference:
    """Gradients at every state, each shaped like the state (N, …).

    exact     ∂ℓ_n/∂h_l in float64: the reference g_l
    working   the same in the module's own precision
    mean_loss ∂(mean_n ℓ_n)/∂h_l in the module's own precision: what `loss.backward()` leaves
    states    h_l in the module's own precision, without graph
    """

    exact: list[Tensor]
    working: list[Tensor]
    mean_loss: list[Tensor]
    states: list[Tensor]


def reference(forward: Forward, module: nn.Module, x: Tensor, y: Tensor) -> Reference:
    """Differentiate `forward` at the states. Works on copies of `module` in evaluation mode:
    its gradients, buffers and mode stay as they are."""
    working = _frozen_copy(module)
    states, loss = forward(working, x, y)
    summed = torch.autograd.grad(loss.sum(), states, retain_graph=True)
    mean = torch.autograd.grad(loss.mean(), states)
    exact_states, exact_loss = forward(_frozen_copy(module).double(), x.double(), y)
    exact = torch.autograd.grad(exact_loss.sum(), exact_states)
    return Reference(list(exact), list(summed), list(mean), [h.detach() for h in states])


def _frozen_copy(module: nn.Module) -> nn.Module:
    # Every parameter requires grad in the copy, so that the graph reaches the first state
    # even where the user froze all that comes before it.
    return copy.deepcopy(module).eval().requires_grad_(True)
