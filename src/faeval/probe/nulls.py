"""What the cosine would be under fresh feedback, by closed form or by drawing it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from faeval.core.errors import InputError, unknown
from faeval.core.reading import NullReading
from faeval.core.trace import Trace
from faeval.measurement.alignment import prepared
from faeval.measurement.reading import mean_cosine, read_drawn_null, read_gaussian_null

Sources = Sequence[Tensor | None] | Mapping[str, Tensor]
NullOption = Literal["gaussian"] | Sources | Callable[[Any, torch.Generator], Any] | None
"""See `measure`: closed form for the error or for other sources, or fresh feedback drawn."""

# Float32 leaves 1e-7 and TF32 3e-4; what a layer's derivative bends is a hundred times that.
LINEAR = 1e-3


def gaussian_nulls(
    null: Literal["gaussian"] | Sources,
    trace: Trace,
    names: Sequence[str],
    credits: Sequence[Tensor],
    exact: Sequence[Tensor],
) -> list[NullReading | None]:
    """The closed form for a credit B s_n with i.i.d. Gaussian B, where a source s is known.

    Raises InputError where sources are not one (N, C) per state, or where a credit is not linear
    in its source, as far as N > C samples can tell.
    """
    sources = _sources(null, trace, names)
    for l, (source, credit) in enumerate(zip(sources, credits, strict=True)):
        if source is None:
            continue
        limit = max(LINEAR, 10 * torch.finfo(credit.dtype).eps)
        if (residual := nonlinearity(credit, source)) > limit:
            of = 'error for null="gaussian"' if source is trace.error else "source for a given null"
            raise InputError(
                f"credits B·{of}",
                f"credits that are not linear in it at h{l} {names[l]} (relative residual "
                f"{residual:.1e})",
                "pass null=a function fresh(trace, generator) that draws the feedback afresh",
            )
    return [
        None if source is None else read_gaussian_null(credit, g, source)
        for source, credit, g in zip(sources, credits, exact, strict=True)
    ]


def nonlinearity(credit: Tensor, source: Tensor) -> float:
    """min_B ‖A − S Bᵀ‖_F / ‖A‖_F for credits A (N, …) and sources S (N, C), in float64.

    Over the samples that are finite in both; 0 where they are no more than C, for then some
    B fits whatever the credits are, and where all credits are zero.
    """
    a, s = credit.flatten(1).double(), source.double()
    finite = a.isfinite().all(dim=1) & s.isfinite().all(dim=1)
    a, s = a[finite], s[finite]
    if len(s) <= s.shape[1] or not a.any():
        return 0.0
    # Errors of a softmax sum to zero: directions that only rounding fills are left out.
    u, scale, _ = torch.linalg.svd(s, full_matrices=False)
    u = u[:, scale > 1e-7 * scale[0]]
    a = a / a.abs().amax()
    return ((a - u @ (u.T @ a)).norm() / a.norm()).item()


def drawn_nulls(
    again: Callable[[], Sequence[Tensor]],
    draws: int,
    credits: Sequence[Tensor],
    exact: Sequence[Tensor],
) -> list[NullReading | None]:
    """The null from `draws` calls of `again`, each giving credits under fresh feedback.

    One more call is the fresh draw that is told beside it. None at a state where some draw has no
    cosine. Raises InputError for fewer than 2 draws.
    """
    if draws < 2:
        raise InputError("at least 2 draws of a null", str(draws), "use the default, 200")
    references = [prepared(g) for g in exact]
    means = torch.empty(len(exact), draws + 1, dtype=torch.float64)
    for m in range(draws + 1):
        for l, (credit, g) in enumerate(zip(again(), references, strict=True)):
            means[l, m] = mean_cosine(credit, g)
    return [
        read_drawn_null(credit, g, drawn[:-1], fresh=drawn[-1].item())
        for credit, g, drawn in zip(credits, references, means, strict=True)
    ]


def _sources(
    null: Literal["gaussian"] | Sources, trace: Trace, names: Sequence[str]
) -> list[Tensor | None]:
    samples = len(trace.error)
    sources: list[Any]
    if null == "gaussian":
        sources = [trace.error] * len(names)
    elif isinstance(null, Mapping):
        for name in null:
            if name not in names:
                raise unknown("state", str(name), names)
        sources = [null.get(name) for name in names]
    elif isinstance(null, Sequence) and not isinstance(null, str):
        sources = list(null)
    else:
        raise InputError(
            'a null that is None, "gaussian", sources by state, or a function that draws',
            repr(null) if isinstance(null, str) else type(null).__name__,
            'write null="gaussian" where the credit is a Gaussian matrix times the error',
        )
    if len(sources) != len(names):
        raise InputError(
            f"a source of the null for each of {len(names)} states",
            str(len(sources)),
            "put None where there is none",
        )
    for source in sources:
        fits = isinstance(source, Tensor) and source.ndim == 2 and len(source) == samples
        if source is not None and not fits:
            got = str(tuple(source.shape)) if isinstance(source, Tensor) else type(source).__name__
            raise InputError(
                f"a source of the null of shape ({samples}, C)",
                got,
                "where one matrix serves several positions, draw: null=fresh",
            )
    return sources
