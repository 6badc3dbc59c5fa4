"""What is read: credits that the user gives, or what the module's own backward delivers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from faeval.core.errors import InputError, unknown
from faeval.core.trace import Trace
from faeval.probe.guard import duplicate, undisturbed
from faeval.probe.states import Tap, few

Tensors = Sequence[Tensor] | Mapping[str, Tensor]
Credits = Tensors | Callable[[Trace], Tensors] | Literal["backward"]
"""Tensors shaped like the states; a function of the trace that returns such; or "backward"."""


def read_credits(credits: Credits | str, trace: Trace, names: Sequence[str]) -> list[Tensor]:
    """Credits that are given or computed from the trace, one per state.

    Raises InputError unless they are real and shaped like the states.
    """
    if callable(credits):
        credits = credits(trace)
    if isinstance(credits, str):
        raise InputError(
            'credits as tensors, a function of the trace, or "backward"',
            repr(credits),
            'write "backward" to read what the module\'s own backward delivers',
        )
    return _like_states(credits, trace.states, names)


def check_finite(credits: Sequence[Tensor], trace: Trace, names: Sequence[str]) -> None:
    """Raises InputError for a credit that is not finite in a sample where the pass itself is."""
    passed = torch.stack([t.flatten(1).isfinite().all(dim=1) for t in (*trace.states, trace.error)])
    for l, (name, credit) in enumerate(zip(names, credits, strict=True)):
        bad = int((~credit.flatten(1).isfinite().all(dim=1) & passed.all(dim=0)).sum())
        if bad:
            raise InputError(
                f"finite credits at h{l} {name}",
                f"NaN or infinity in {bad} of {len(credit)} samples",
                "mend the credits: states and error of these samples are finite",
            )


def own_backward(tap: Tap, module: nn.Module, x: Tensor, y: Tensor) -> tuple[Trace, list[Tensor]]:
    """Trace and what `module` itself hands back to each state in `loss.sum().backward()`.

    It is the module that runs, in evaluation mode, and not a copy: a library may hold on to it
    from elsewhere. All that its passes leave behind on it is put back.

    Raises InputError where a state gets nothing, or where a parameter has a hook that acts as
    soon as its gradient is there (an optimiser inside the backward pass).
    """
    for name, p in module.named_parameters():
        if p._post_accumulate_grad_hooks:
            raise InputError(
                "parameters without a hook that acts on their gradient",
                f"{name!r} with one",
                "remove it while measuring: it would take an optimiser step",
            )
    with undisturbed(module):
        return _deliver(tap, module, x, y)


class Redrawn:
    """The module's backward with fresh feedback: `fresh(copy, generator)` redraws it in place.

    Raises InputError where a copy of the module does not hand back what the module does.
    """

    def __init__(
        self,
        tap: Tap,
        module: nn.Module,
        x: Tensor,
        y: Tensor,
        fresh: Callable[[nn.Module, torch.Generator], object],
        generator: torch.Generator,
        delivered: Sequence[Tensor],
    ) -> None:
        self._copy = duplicate(module)
        self._arguments = tap, self._copy, x, y
        self._fresh, self._generator = fresh, generator
        with torch.random.fork_rng(devices=()):
            again = self._again()
        if not all(_close(a, b) for a, b in zip(again, delivered, strict=True)):
            raise InputError(
                "a module whose copy hands back the same credits as itself",
                f"other credits from a copy of {type(module).__name__}",
                "let hooks reach the module by their argument instead of holding on to it, or "
                "compute credits and null with functions of the trace",
            )

    def __call__(self) -> list[Tensor]:
        self._fresh(self._copy, self._generator)
        return self._again()

    def _again(self) -> list[Tensor]:
        _, delivered = _deliver(*self._arguments)
        return delivered


def _deliver(tap: Tap, module: nn.Module, x: Tensor, y: Tensor) -> tuple[Trace, list[Tensor]]:
    module.eval().zero_grad(set_to_none=True)
    trace = tap.trace(module, x, y)
    delivered: dict[int, Tensor] = {}

    def collect(l: int) -> Callable[[Tensor], None]:
        def hook(grad: Tensor) -> None:
            # A library that starts a backward pass of its own may reach a state twice.
            delivered[l] = delivered[l] + grad if l in delivered else grad.detach().clone()

        return hook

    for l, h in enumerate(trace.states):
        h.register_hook(collect(l))
    trace.loss.sum().backward()
    missing = [name for l, name in enumerate(tap.names) if l not in delivered]
    if missing:
        raise InputError(
            "a backward pass that delivers something at every state",
            f"nothing at {few([*map(repr, missing)])}",
            "name the submodules whose outputs the library teaches; one that switches itself off "
            "in evaluation mode cannot be read this way",
        )
    credits = [delivered[l] for l in range(len(trace.states))]
    states = tuple(h.detach() for h in trace.states)
    logits, loss = trace.logits.detach(), trace.loss.detach()
    return replace(trace, states=states, logits=logits, loss=loss), credits


def _like_states(tensors: Tensors, states: Sequence[Tensor], names: Sequence[str]) -> list[Tensor]:
    if isinstance(tensors, Mapping):
        for name in tensors:
            if name not in names:
                raise unknown("state", str(name), names)
        missing = [name for name in names if name not in tensors]
        if missing:
            told = few([*map(repr, missing)])
            raise InputError("a credit for every state", f"none for {told}", "add them")
        tensors = [tensors[name] for name in names]
    ok = isinstance(tensors, Sequence) and not isinstance(tensors, str | Tensor)
    if not ok or len(tensors) != len(states):
        got = f"{len(tensors)} of them" if ok else type(tensors).__name__
        raise InputError(
            f"a sequence of {len(states)} credits, one per state, or a dictionary by name",
            got,
            "give one tensor, shaped like the state, for each name in states",
        )
    for name, credit, h in zip(names, tensors, states, strict=True):
        if not isinstance(credit, Tensor) or credit.shape != h.shape or credit.is_complex():
            shape = tuple(credit.shape) if isinstance(credit, Tensor) else type(credit).__name__
            raise InputError(
                f"a real credit of shape {tuple(h.shape)} at {name!r}",
                str(shape),
                "give one vector per sample, without 1/N",
            )
    return [credit.detach() for credit in tensors]


def _close(a: Tensor, b: Tensor) -> bool:
    tolerance = torch.finfo(a.dtype).eps ** 0.5
    scale = b[b.isfinite()].abs().amax().item() if b.isfinite().any() else 1.0
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
