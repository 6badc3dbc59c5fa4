"""Gradients from losses alone, for a module whose backward pass is not to be trusted."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from faeval.measurement.alignment import norm, samplewise, summary
from faeval.measurement.reading import number
from faeval.probe.states import Tap

# Of the state's root mean square. In float64 truncation (step²) and rounding (1e-16/step) are
# both small there, and few kinks of a ReLU lie within reach.
STEP = 1e-5
DIRECTIONS = 4
_ROWS = 4096  # samples in one pass
_ELEMENTS = 2**22  # and numbers in its perturbations: 32 MiB


def central_differences(
    tap: Tap, module: nn.Module, x: Tensor, y: Tensor, states: Sequence[Tensor]
) -> list[Tensor]:
    """∂ℓ_n/∂h_l element by element: (ℓ_n(h + s e_i) − ℓ_n(h − s e_i)) / 2s, s = STEP · rms(h_n).

    Args:
        module: in float64 and evaluation mode; x is float64 too where it is floating.
        states: h_0 … h_L in float64, each (N, …).

    Returns:
        One float64 gradient per state, shaped like it.

    Costs 2 · Σ_l D_l forward passes of N samples, D_l the elements of one sample's state:
    2,560 passes for five states of 256. All samples, and many elements, share one pass.
    """
    return [_of_state(tap, module, x, y, l, h) for l, h in enumerate(states)]


def directional_errors(
    tap: Tap,
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    states: Sequence[Tensor],
    gradients: Sequence[Tensor],
    generator: torch.Generator,
) -> list[float | None]:
    """How far each gradient g is from the losses themselves, whatever it was computed by.

    Along random v ~ N(0, I), the central difference δ is compared with ⟨g, v⟩: the root mean
    square of δ − ⟨g, v⟩ over directions estimates ‖error of g‖, since E⟨u, v⟩² = ‖u‖².

    Returns, per state, the median over samples of that, relative to ‖g‖; None where no sample
    has a finite one. Costs 2 · DIRECTIONS passes per state.
    """
    errors = []
    for l, (h, g) in enumerate(zip(states, gradients, strict=True)):
        step, squares = _step(h), torch.zeros(len(h), dtype=torch.float64, device=h.device)
        rows = samplewise(g)
        for _ in range(DIRECTIONS):
            v = torch.randn(rows.shape, generator=generator, dtype=torch.float64).to(h.device)
            shift = (step[:, None] * v)[None]
            losses = _losses(tap, module, x, y, l, torch.cat([shift, -shift]))
            along = (losses[0] - losses[1]) / (2 * step)
            squares += (along - torch.linalg.vecdot(rows, v)).square() / DIRECTIONS
        errors.append(number(summary(squares.sqrt() / norm(g)).median))
    return errors


def _of_state(tap: Tap, module: nn.Module, x: Tensor, y: Tensor, l: int, h: Tensor) -> Tensor:
    samples, elements = samplewise(h).shape
    step = _step(h)
    size = max(1, min(_ROWS // (2 * samples), _ELEMENTS // (2 * h.numel())))
    gradient = torch.empty(samples, elements, dtype=torch.float64, device=h.device)
    for start in range(0, elements, size):
        count = min(size, elements - start)
        shift = torch.zeros(count, samples, elements, dtype=torch.float64, device=h.device)
        each = torch.arange(count, device=h.device)
        shift[each, :, start + each] = step
        up, down = _losses(tap, module, x, y, l, torch.cat([shift, -shift])).split(count)
        gradient[:, start : start + count] = ((up - down) / (2 * step)).T
    return gradient.view(h.shape)


def _losses(tap: Tap, module: nn.Module, x: Tensor, y: Tensor, l: int, shifts: Tensor) -> Tensor:
    """Losses (K, N) with h_l moved by each of `shifts` (K, N, D_l)."""
    # The whole batch is repeated, not the state alone: a path may lead around the submodule.
    copies = len(shifts)
    moved: Callable[[Tensor], Tensor] = lambda h: h + shifts.reshape(h.shape)  # noqa: E731
    _, output = tap.states(module, _repeat(x, copies), {l: moved})
    return tap.losses(output, _repeat(y, copies)).detach().double().view(copies, -1)


def _repeat(x: Tensor, copies: int) -> Tensor:
    return x.repeat(copies, *[1] * (x.ndim - 1))


def _step(h: Tensor) -> Tensor:
    """Per sample, (N,); that of the batch for a zero state."""
    rms = norm(h) / math.sqrt(samplewise(h).shape[1])
    typical = rms.nanmean()
    return STEP * rms.where(rms != 0, typical if typical > 0 else 1.0)
