"""The reference at the states of a foreign module, and how far it can be believed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from faeval.core.errors import InputError
from faeval.measurement.reference import Reference, double, reading_copy, reference
from faeval.probe.differences import DIRECTIONS, central_differences, directional_errors
from faeval.probe.guard import duplicate
from faeval.probe.states import Tap
from faeval.verdict.finding import Finding, Reporter
from faeval.verdict.method import Method

Source = Literal["autograd", "autograd of the twin", "finite differences"]
DISAGREEMENT = 1e-3  # above, a gradient is not the derivative of the losses it comes with


@dataclass(frozen=True)
class Truth:
    """The reference gradients and where they come from.

    source     what computed them, in float64
    gradients  as of `measurement.reference`; by finite differences, the working precision and
               the mean loss are the float64 ones rounded
    errors     per state, relative error against the losses: see `directional_errors`
    exact      the module they are of, in float64 and evaluation mode
    """

    source: Source
    gradients: Reference
    errors: list[float | None]
    exact: nn.Module

    def finding(self, method: Method, names: Sequence[str]) -> Finding:
        """Whether the reference is the gradient of the losses that the module returns."""
        report = Reporter(method, "reference source", "caution")
        known = [(e, f"h{l} {names[l]}") for l, e in enumerate(self.errors) if e is not None]
        if not known:
            return report.unmeasured("no state with a finite, non-zero gradient")
        worst, state = max(known)
        return report.at_most(
            worst,
            DISAGREEMENT,
            f"{self.source} in float64, within {worst:.1e} of the change of the losses along "
            f"{DIRECTIONS} random directions (median sample, worst at {state}; limit "
            f"{DISAGREEMENT:g})",
            "The reference is the gradient of this very function.",
            "Either the function has kinks at its states (a max-pool over ties), or its backward "
            "pass is not its derivative: then give a plain twin.",
        )


def find_truth(
    tap: Tap,
    module: nn.Module,
    twin: nn.Module | None,
    x: Tensor,
    y: Tensor,
    *,
    trusted: bool,
    autocast: Sequence[torch.dtype],
    generator: torch.Generator,
) -> Truth:
    """The reference: of the twin if there is one, of the module where its own backward is
    `trusted`, else by finite differences.

    Raises InputError where the twin computes something else, where a sample's loss depends on
    other samples, or where a precision is asked for that has no gradient.
    """
    plain = duplicate(module if twin is None else twin)
    if twin is not None:
        _check_twin(tap, reading_copy(duplicate(module)), reading_copy(plain), x)
    exact = reading_copy(plain).double()
    x64 = double(x)
    states, losses = (_detached(t) for t in tap.forward(exact, x64, y))
    _check_independence(tap, exact, x64, y, losses[0])
    if twin is not None or trusted:
        source: Source = "autograd" if twin is None else "autograd of the twin"
        gradients = reference(tap.forward, plain, x, y, autocast=autocast)
    else:
        if autocast:
            raise InputError(
                "a twin wherever other precisions are asked for",
                'precisions with credits="backward" alone',
                "give a plain module of the same function as twin=",
            )
        source = "finite differences"
        g = central_differences(tap, exact, x64, y, states)
        own, _ = tap.forward(reading_copy(plain), x, y)
        rounded = [a.to(h.dtype) for a, h in zip(g, own, strict=True)]
        gradients = Reference(g, rounded, {}, _detached(own))
    errors = directional_errors(tap, exact, x64, y, states, gradients.exact, generator)
    return Truth(source, gradients, errors, exact)


def _check_twin(tap: Tap, module: nn.Module, twin: nn.Module, x: Tensor) -> None:
    ours, output = tap.states(module, x)
    theirs, twin_output = tap.states(twin, x)
    pairs = zip((*ours, output), (*theirs, twin_output), (*tap.names, "the output"), strict=True)
    for a, b, name in pairs:
        if a.shape != b.shape:
            raise InputError(
                f"a twin with the shape {tuple(a.shape)} at {name}",
                str(tuple(b.shape)),
                "build the same network from plain layers",
            )
        a, b = a.detach().double(), b.detach().double()
        gap = ((a - b).abs().nan_to_num(0.0).max() / a.abs().nan_to_num(0.0).max()).item()
        if gap > torch.finfo(output.dtype).eps ** 0.5 or not a.isnan().equal(b.isnan()):
            raise InputError(
                "a twin that computes what the module computes",
                f"a difference of {gap:.1e} of the largest value at {name}",
                "copy the weights into it (load_state_dict) and compare in evaluation mode",
            )


def _check_independence(tap: Tap, exact: nn.Module, x: Tensor, y: Tensor, losses: Tensor) -> None:
    """Per-sample gradients exist only where a sample's loss is its own affair."""
    half = len(x) // 2
    if not half:
        return
    _, alone = tap.forward(exact, x[:half], y[:half])
    together = losses[:half]
    if not torch.allclose(alone.detach(), together, rtol=1e-6, atol=1e-9, equal_nan=True):
        gap = (alone.detach() - together).abs().nan_to_num(torch.inf).max().item()
        raise InputError(
            "samples that do not depend on each other in evaluation mode",
            f"a loss that changes by {gap:.1e} when other samples leave the batch",
            "use running statistics instead of those of the batch",
        )


def _detached(tensors: Sequence[Tensor] | Tensor) -> list[Tensor]:
    return [t.detach() for t in ([tensors] if isinstance(tensors, Tensor) else tensors)]
