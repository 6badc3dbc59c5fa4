"""What a credit does to the loss: probes that move the state instead of comparing vectors.

`tail` is the rest of the network, from a state h (N, …) to the losses ℓ (N,), float64;
ℓ_n must depend on h_n alone (batch norm in evaluation mode). A probe calls it and
reads its values: nothing is written to `.grad`, to a buffer or to the inputs.

A credit approximates the *gradient*, so it predicts the change ⟨a_n, v_n⟩ of the loss
along v_n, and −a_n is the direction that it claims to be downhill.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from faeval.core.errors import InputError
from faeval.measurement.alignment import (
    Alignment,
    cosine,
    norm,
    rescaled,
    rescaled_together,
    same_shape,
    samplewise,
    summary,
)

Tail = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class PerturbationCorrelation:
    """ρ between predicted and true change of the loss, with the errors over directions.

    `exact` takes the derivative along the direction, `finite` a symmetric difference
    over ±step·‖h_n‖, `one_sided` the difference to +step·‖h_n‖ alone. The standard errors
    speak for the random directions only, not for images or seeds, and are NaN for a
    single direction. `excluded` samples had a change or a prediction that was not finite.
    ρ is NaN where nothing is predicted.
    """

    exact: float
    finite: float
    one_sided: float
    exact_stderr: float
    finite_stderr: float
    one_sided_stderr: float
    directions: int
    step: float
    samples: int
    excluded: int


@dataclass(frozen=True, eq=False)
class Nudge:
    """Change of the loss for one step along a credit.

    `changes` (N,) float64 holds each sample's change, NaN for the `zero` credits, which
    claim no direction, and for the `non_finite` samples, where the credit, the state or
    a loss is not finite; `change` is the mean of the others, NaN if there are none.
    """

    change: float
    changes: Tensor
    zero: int
    non_finite: int
    relative_step: float


def perturbation_correlation(
    tail: Tail,
    h: Tensor,
    credits: Mapping[str, Tensor],
    *,
    generator: torch.Generator,
    directions: int = 16,
    step: float = 1e-2,
) -> dict[str, PerturbationCorrelation]:
    """Correlates predicted with true changes of the loss over random directions.

    With v_kn ~ N(0, I), predictions p_kn = ⟨a_n, v_kn⟩ and changes t_kn,

        ρ = Σ_kn p_kn t_kn / √(Σ_kn p_kn² · Σ_kn t_kn²).

    Through the origin, because v and −v are equally likely and the predictions odd in v: their
    mean is known to be 0, and so is that of the first two changes. Pooled over samples,
    because then ρ for the exact change t_kn = ⟨g_n, v_kn⟩ tends, whatever N is, to the
    norm-weighted cosine

        Σ_n ⟨a_n, g_n⟩ / √(Σ_n ‖a_n‖² · Σ_n ‖g_n‖²).

    The exact change is computed in forward mode, independently of any backward pass.
    The finite one, with ε_kn = step·‖h_n‖ / ‖v_kn‖, is

        t_kn = (ℓ_n(h_n + ε_kn v_kn) − ℓ_n(h_n − ε_kn v_kn)) / 2ε_kn.

    Even orders cancel in it: on a quadratic loss it equals the exact change, and a gap
    between the two values of ρ tells of third order and beyond at that distance. The
    one-sided change

        t_kn = (ℓ_n(h_n + ε_kn v_kn) − ℓ_n(h_n)) / ε_kn

    keeps them. No credit can predict what is even in v, so curvature lowers its ρ, that of the
    true gradient g too: on a quadratic loss with Hessian H in D dimensions, from
    ‖g‖ to the root of ‖g‖² + (step·‖h‖/2)² (2 tr H² + tr² H)/(D + 2) in the denominator.

    All credits meet the same directions, and the loss is evaluated three times per direction
    however many there are: pass the reference and a random vector along as controls, they
    should read about 1 (one-sided: what curvature leaves of it) and 0.

    Args:
        tail: losses (N,) of states (N, …), float64.
        h: (N, …) the states; converted to float64.
        credits: named estimates a (N, …) of the gradient at h, any scale.
        generator: draws the directions, on its own device.
        directions: number K of directions per sample, ≥ 1.
        step: ‖ε v‖ / ‖h‖ of the finite change, > 0.

    Returns:
        One PerturbationCorrelation for each credit, under its name.

    Raises:
        InputError: a shape differs, or directions or step is not positive.

    Source: the perturbation correlation of arXiv 2606.21126, in two forms; the errors
    are delete-one-direction jackknife.
    """
    _positive("directions", directions)
    _positive("step", step)
    for credit in credits.values():
        same_shape(credit, h)
    state = _float64(h)
    # One scale for a whole credit leaves ρ as it is and keeps ⟨a, v⟩ in range.
    rows = {name: rescaled_together(credit) for name, credit in credits.items()}
    reach = step * norm(state)

    changes: dict[str, list[Tensor]] = {"exact": [], "finite": [], "one_sided": []}
    here = _evaluate(tail, state.clone())
    predicted: dict[str, list[Tensor]] = {name: [] for name in credits}
    for _ in range(directions):
        v = torch.randn(
            h.shape, generator=generator, dtype=torch.float64, device=generator.device
        ).to(h.device)
        size = reach / norm(v)
        with torch.inference_mode(False), torch.no_grad(), _forward_mode():
            # Ordinary copies: an in-place activation overwrites the state and the tangent.
            slope = _losses(jvp(tail, (state.clone(),), (v.clone(),))[1], h)
        shift = _per_sample(size, v) * v
        ahead, behind = _evaluate(tail, state + shift), _evaluate(tail, state - shift)
        changes["exact"].append(slope)
        changes["finite"].append((ahead - behind) / (2 * size))
        changes["one_sided"].append((ahead - here) / size)
        for name, credit in rows.items():
            predicted[name].append(torch.linalg.vecdot(credit, samplewise(v)))

    t = {kind: torch.stack(of_kind) for kind, of_kind in changes.items()}
    finite = torch.stack([of_kind.isfinite() for of_kind in t.values()]).all(dim=0)
    readings: dict[str, PerturbationCorrelation] = {}
    for name in credits:
        p = torch.stack(predicted[name])
        usable = (p.isfinite() & finite).all(dim=0)
        rho = {kind: _through_origin(p[:, usable], t[kind][:, usable]) for kind in t}
        samples = int(usable.sum())
        readings[name] = PerturbationCorrelation(
            exact=rho["exact"][0],
            finite=rho["finite"][0],
            one_sided=rho["one_sided"][0],
            exact_stderr=rho["exact"][1],
            finite_stderr=rho["finite"][1],
            one_sided_stderr=rho["one_sided"][1],
            directions=directions,
            step=step,
            samples=samples,
            excluded=len(h) - samples,
        )
    return readings


def nudge(tail: Tail, h: Tensor, credit: Tensor, *, relative_step: float = 1e-2) -> Nudge:
    """Moves every state a little against its credit and reads the change of the loss:

        Δ_n = ℓ_n(h_n − η_n â_n) − ℓ_n(h_n),   η_n = relative_step·‖h_n‖,  â_n = a_n/‖a_n‖.

    A credit that teaches something makes the mean negative. The yardstick is the same
    call with the true gradient, which does best for small steps:
    Δ_n ≈ −η_n ⟨â_n, g_n⟩ + ½ η_n² â_nᵀ H_n â_n. The length of the credit plays no part.

    Args:
        tail: losses (N,) of states (N, …), float64.
        h: (N, …) the states; converted to float64.
        credit: (N, …) estimate of the gradient at h.
        relative_step: length of the step in units of ‖h_n‖, > 0.

    Returns:
        Nudge, in the units of the loss.

    Raises:
        InputError: the shapes differ or relative_step is not positive.
    """
    _positive("relative_step", relative_step)
    same_shape(credit, h)
    state = _float64(h)
    rows, _ = rescaled(credit)
    length = torch.linalg.vector_norm(rows, dim=1)
    zero = length == 0
    # A zero credit becomes 0/0 here, which carries its NaN through to `changes`.
    step = (relative_step * norm(state) / length)[:, None] * rows
    changes = _evaluate(tail, state - step.reshape(h.shape)) - _evaluate(tail, state.clone())
    changes = changes.where(changes.isfinite() & ~zero, math.nan)
    zeros = int(zero.sum())
    return Nudge(
        change=summary(changes).mean,
        changes=changes,
        zero=zeros,
        non_finite=int(changes.isnan().sum()) - zeros,
        relative_step=relative_step,
    )


def update_alignment(credit_grads: Sequence[Tensor], true_grads: Sequence[Tensor]) -> Alignment:
    """Cosine between two updates of the same parameters, all taken as one vector.

    Args:
        credit_grads, true_grads: the gradients of one block's parameters, in one order.

    Returns:
        Alignment with a single value.

    Raises:
        InputError: there are no tensors, or they do not match one to one.
    """
    if not credit_grads or len(credit_grads) != len(true_grads):
        raise InputError(
            "as many gradients on both sides, at least one",
            f"{len(credit_grads)} and {len(true_grads)}",
            "pass the same parameters in the same order",
        )
    for a, b in zip(credit_grads, true_grads, strict=True):
        same_shape(a, b)
    return cosine(_joined(credit_grads), _joined(true_grads))


def _through_origin(p: Tensor, t: Tensor) -> tuple[float, float]:
    """ρ of two (K, M) tables through the origin, and its jackknife error over the K rows."""
    if not p.numel():
        return math.nan, math.nan
    p, t = rescaled_together(p), rescaled_together(t)
    sums = torch.stack([(p * t).sum(dim=1), (p * p).sum(dim=1), (t * t).sum(dim=1)])

    def rho(moments: Tensor) -> Tensor:
        return (moments[0] / (moments[1] * moments[2]).sqrt()).clamp(-1.0, 1.0)

    total = sums.sum(dim=1)
    k = len(p)
    if k == 1:
        return rho(total).item(), math.nan
    left_out = rho(total[:, None] - sums)
    variance = (left_out - left_out.mean()).square().sum() * (k - 1) / k
    return rho(total).item(), variance.sqrt().item()


def _float64(h: Tensor) -> Tensor:
    return h.detach().to(torch.float64)


def _per_sample(factor: Tensor, like: Tensor) -> Tensor:
    """`factor` (N,) shaped to multiply the samples of `like` (N, …)."""
    return factor.reshape(-1, *[1] * (like.ndim - 1))


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """All elements as one sample (1, D)."""
    return torch.cat([x.detach().flatten() for x in tensors])[None]


def _evaluate(tail: Tail, state: Tensor) -> Tensor:
    """The losses of a state that `tail` may overwrite (an in-place activation would)."""
    with torch.no_grad():
        return _losses(tail(state), state)


def _losses(losses: Tensor, h: Tensor) -> Tensor:
    if losses.shape != h.shape[:1]:
        raise InputError(
            f"losses per sample, shape {tuple(h.shape[:1])}, from the tail",
            f"shape {tuple(losses.shape)}",
            'use reduction="none"',
        )
    return losses.detach().to(torch.float64)


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise InputError(f"{name} > 0", str(value), f"choose a positive, finite {name}")


@contextmanager
def _forward_mode() -> Iterator[None]:
    """Makes forward-mode derivatives of attention possible: the fused kernels have none."""
    _load_forward_mode()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


@cache
def _load_forward_mode() -> None:
    """The first dual number makes torch call its own deprecated `torch.jit.script`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        jvp(torch.neg, (torch.zeros(()),), (torch.zeros(()),))
