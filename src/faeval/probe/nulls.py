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


def gaussian_nulls(
    null: Literal["gaussian"] | Sources,
    trace: Trace,
    names: Sequence[str],
    credits: Sequence[Tensor],
    exact: Sequence[Tensor],
) -> list[NullReading | None]:
    """The closed form for a credit B s_n with i.i.d. Gaussian B, where a source s is known.

    Raises InputError where sources are not one (N, C) per state.
    """
    return [
        None if source is None else read_gaussian_null(credit, g, source)
        for source, credit, g in zip(_sources(null, trace, names), credits, exact, strict=True)
    ]


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
