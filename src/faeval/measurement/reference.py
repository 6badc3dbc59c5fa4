"""The true per-sample gradients at the states, in float64 and in lesser precisions."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

CHUNK = 256  # samples whose graph is held at once

Forward = Callable[[nn.Module, Tensor, Tensor], tuple[Sequence[Tensor], Tensor]]
"""(module, x, y) → states h_0 … h_L with graph, and the per-sample losses ℓ_n (N,)."""


@dataclass(frozen=True)
class Reference:
    """Gradients at every state, each shaped like the state (N, …).

    exact      ∂ℓ_n/∂h_l in float64: the reference g_l
    working    the same in the module's own precision
    autocast   by dtype, the gradient of the mean loss under autocast, as it comes: what
               training in that precision without loss scaling has to go by
    states     h_l in the module's own precision, without graph
    """

    exact: list[Tensor]
    working: list[Tensor]
    autocast: dict[torch.dtype, list[Tensor]]
    states: list[Tensor]


def reference(
    forward: Forward,
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    autocast: Sequence[torch.dtype] = (),
) -> Reference:
    """Differentiate `forward` at the states. Works on copies of `module` in evaluation mode:
    its gradients, buffers and mode stay as they are."""
    ours = reading_copy(module)
    states, working = gradients(forward, ours, x, y)
    reduced = {dtype: _under_autocast(forward, ours, x, y, dtype) for dtype in autocast}
    _, exact = gradients(forward, ours.double(), x, y)
    return Reference(exact, working, reduced, states)


def gradients(
    forward: Forward, module: nn.Module, x: Tensor, y: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """States and ∂ℓ_n/∂h_l in the precision of the parameters, without graph.

    Samples must not depend on each other: a few at a time keep the graph, the largest thing in
    memory, small."""
    wide = any(p.dtype == torch.float64 for p in module.parameters())
    parts = []
    for some, labels in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
        states, loss = forward(module, double(some) if wide else some, labels)
        at_states = torch.autograd.grad(loss.sum(), states)
        parts.append(([h.detach() for h in states], list(at_states)))
    if len(parts) == 1:
        return parts[0]
    states, at_states = (
        [torch.cat(of_state) for of_state in zip(*side, strict=True)]
        for side in zip(*parts, strict=True)
    )
    return states, at_states


def reading_copy(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode in which every parameter requires grad, so that the graph
    reaches the first state even where the user froze all that comes before it."""
    twin = copy.deepcopy(module).eval()
    for t in chain(twin.parameters(), twin.buffers()):
        t.grad = None
    for p in twin.parameters():
        p.requires_grad_(p.is_floating_point())
    return twin


def double(x: Tensor) -> Tensor:
    """`x` in float64 if it is floating, as it is if it holds indices."""
    return x.double() if x.is_floating_point() else x


def _under_autocast(
    forward: Forward, module: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype
) -> list[Tensor]:
    # Inside of a caller's autocast the cache would hand out the weights of the dtype before.
    with torch.autocast(x.device.type, dtype=dtype, cache_enabled=False):
        states, loss = forward(module, x, y)
    return list(torch.autograd.grad(loss.mean(), states))
