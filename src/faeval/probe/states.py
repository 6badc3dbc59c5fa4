"""The states of any module: read, and replaced, at named submodules by forward hooks."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.core.errors import InputError
from faeval.core.trace import Trace

Loss = Callable[[Tensor, Tensor], Tensor]
"""(output, y) → ℓ_n, shape (N,): per sample, no 1/N."""

LISTED = 20  # submodules in a message, at most

Change = Mapping[int, Callable[[Tensor], Tensor]]
"""By number of a state, what the rest of the network gets in its place."""


IGNORED = -100  # a label that PyTorch's cross-entropy leaves out


def cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    """ℓ_n = −log softmax(output_n)[y_n], from (N, C) and labels (N,); also from probabilities y
    (N, C), −Σ_c y_nc log softmax(output_n)_c.

    Raises InputError for y of another form, or labels beyond the C classes.
    """
    fix = "give class numbers, or another loss="
    if y.is_floating_point() or y.is_complex() or y.dtype is torch.bool or y.ndim != 1:
        if y.is_floating_point() and y.shape == output.shape and y.ndim == 2:
            return F.cross_entropy(output, y, reduction="none")
        got = f"{y.dtype} {tuple(y.shape)}"
        raise InputError(f"integer labels of shape ({len(output)},) for cross-entropy", got, fix)
    if output.ndim != 2:
        raise InputError("an output (N, C) for cross-entropy", str(tuple(output.shape)), fix)
    y, classes = y.long(), output.shape[1]
    outside = y[((y < 0) & (y != IGNORED)) | (y >= classes)]
    if len(outside):
        raise InputError(
            f"labels from 0 to {classes - 1}, one per output", str(outside[0].item()), fix
        )
    return F.cross_entropy(output, y, reduction="none")


@dataclass(frozen=True)
class Tap:
    """Reads the outputs h_0 … h_L of the submodules `names`, in order of the forward pass.

    The rest of the network gets a copy of each state, so that an in-place activation behind
    one leaves it as it was. Hooks are gone when a method returns or raises.
    """

    names: tuple[str, ...]
    loss: Loss = cross_entropy

    def check(self, module: nn.Module) -> None:
        """Raises InputError for no names, a name twice, or one that `module` has not."""
        known = [name for name, _ in module.named_modules() if name]
        for name in self.names:
            if name not in known:
                raise _unknown_submodule(module, str(name), known)
        if not self.names or len(set(self.names)) < len(self.names):
            raise InputError(
                "at least one state, and no name twice",
                repr(list(self.names)),
                "name each submodule whose output is a state once, in order of the forward pass",
            )

    def states(
        self, module: nn.Module, x: Tensor, change: Change | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """The states, each (N, …), and the output of `module(x)`.

        In grad mode every state requires grad, also where nothing before it does. A state in
        `change` is replaced for the rest of the network; the one returned is the original.

        Raises InputError where a submodule is called twice, never or out of order, or where its
        output or that of the module is not a floating tensor with one row per sample.
        """
        found: dict[int, Tensor] = {}

        def hook(state: int) -> Callable[[nn.Module, Any, Any], Tensor]:
            def read(_: nn.Module, __: Any, h: Any) -> Tensor:
                name = self.names[state]
                if state in found:
                    raise InputError(
                        "a submodule that is called once in a forward pass",
                        f"{name!r} called twice",
                        "give every call a submodule of its own",
                    )
                h = _rows(h, f"from submodule {name!r}", len(x))
                if torch.is_grad_enabled() and not h.requires_grad:
                    h = h.detach().requires_grad_()
                found[state] = h
                return change[state](h) if change and state in change else h.clone()

            return read

        handles = [
            module.get_submodule(name).register_forward_hook(hook(state))
            for state, name in enumerate(self.names)
        ]
        try:
            output = _rows(module(x), "from the module", len(x))
        finally:
            for handle in handles:
                handle.remove()
        self._check_order(found)
        return tuple(found.values()), output

    def forward(self, module: nn.Module, x: Tensor, y: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """States and losses (N,), as `measurement.reference` asks for them."""
        states, output = self.states(module, x)
        return states, self.losses(output, y)

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        """ℓ_n (N,); raises InputError where the loss returns anything else."""
        if y.is_floating_point() and output.dtype is torch.float64:
            y = y.double()
        loss = self.loss(output, y)
        if not isinstance(loss, Tensor) or loss.shape != (len(y),):
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise InputError(
                f"a loss per sample, shape ({len(y)},), from the loss function",
                got,
                'use reduction="none" and sum over all dimensions but the first',
            )
        return loss

    def trace(self, module: nn.Module, x: Tensor, y: Tensor) -> Trace:
        """One pass: states, output as `logits`, losses, and error = ∂ℓ_n/∂output (for
        cross-entropy softmax − onehot). No branches: what a block adds is not known here."""
        states, output = self.states(module, x)
        # Of the loss alone: the module's own backward may be anything.
        leaf = output.detach().requires_grad_()
        (error,) = torch.autograd.grad(self.losses(leaf, y).sum(), leaf)
        return Trace(states, (), output, self.losses(output, y), error, y)

    def _check_order(self, found: Mapping[int, Tensor]) -> None:
        missing = [name for state, name in enumerate(self.names) if state not in found]
        if missing:
            raise InputError(
                "submodules that the forward pass calls",
                f"no call of {few([*map(repr, missing)])}",
                "name submodules that are called as modules, not by their weights",
            )
        order = [self.names[state] for state in found]
        if order != list(self.names):
            raise InputError(
                "states in order of the forward pass",
                repr(list(self.names)),
                f"write states={order!r}",
            )


def few(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _unknown_submodule(module: nn.Module, name: str, known: Sequence[str]) -> InputError:
    near = difflib.get_close_matches(name, known, n=8)
    told = list(known)
    if len(known) > LISTED:
        # A large network has hundreds: tell the nearest.
        told = difflib.get_close_matches(name, known, n=8, cutoff=0.0)
        told.append(f"… ({len(known)} in all)")
    listing = ", ".join(told) or "none"
    return InputError(
        f"a known submodule of {type(module).__name__}",
        repr(name),
        f"did you mean {near[0]!r}? Known: {listing}" if near else f"known: {listing}",
    )


def _rows(value: Any, origin: str, samples: int) -> Tensor:
    if isinstance(value, Tensor) and value.is_floating_point() and value.shape[:1] == (samples,):
        return value
    got = (
        f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    )
    raise InputError(
        f"a floating tensor of shape ({samples}, …) {origin}",
        got,
        "put samples first, and wrap what returns more than one tensor",
    )
