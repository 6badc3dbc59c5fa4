"""The reading of every state, gathered over chunks of samples of which only numbers are kept."""

from collections.abc import Sequence

import torch
from torch import Tensor

from faeval.core.reading import NullReading, Reading
from faeval.measurement.alignment import cosine, prepared
from faeval.measurement.chunks import joined
from faeval.measurement.reading import (
    Samples,
    batch_means,
    direction_reading,
    gaussian_null,
    read_state,
    sampled,
)
from faeval.stats import FeedbackNull, Sources, sources


class AtState:
    """What is gathered at one state of the `samples` that are to come.

    `generator` splits them for the direction reading; with `closed_form`, the null of a credit
    B s_n with i.i.d. Gaussian B is gathered too.
    """

    def __init__(self, samples: int, generator: torch.Generator, *, closed_form: bool) -> None:
        self._total = samples
        self._samples: list[Samples] = []
        self._fresh: list[Tensor] = []
        self._null = FeedbackNull(samples) if closed_form else None
        self._means = batch_means(samples, generator)

    def add(
        self,
        h: Tensor,
        credit: Tensor,
        exact: Tensor,
        working: Tensor,
        of: Sources | None,
        fresh: Tensor | None,
    ) -> None:
        """The next samples: see `gather`."""
        g = prepared(exact)
        self._samples.append(
            sampled(h=h, credit=credit, exact=g, working=working, batch=self._total)
        )
        if self._means is not None:
            self._means.add(g)
        if self._null is not None and of is not None:
            self._null.add(g.values, g.length, of)
        if fresh is not None:
            self._fresh.append(cosine(fresh, g).cosine)

    def null(self) -> NullReading | None:
        """The closed-form null; None if it was not asked for or no sample has both directions."""
        if self._null is None:
            return None
        alignment = joined(self._samples).compared.with_reference
        assert alignment is not None
        fresh = torch.cat(self._fresh).nanmean().item() if self._fresh else None
        return gaussian_null(self._null, alignment.mean, fresh)

    def reading(self, state: int, null: NullReading | None) -> Reading:
        """All of it as the reading of h_`state`."""
        direction = self._means and direction_reading(self._means)
        return read_state(state, joined(self._samples), null=null, direction=direction)


def gather(
    states: Sequence[AtState],
    *,
    h: Sequence[Tensor],
    credits: Sequence[Tensor],
    exact: Sequence[Tensor],
    working: Sequence[Tensor],
    source: Tensor | None = None,
    fresh: Sequence[Tensor] | None = None,
) -> None:
    """Add the next n samples at every state h_l, each tensor (n, …).

    `exact` and `working` are the gradients of `measurement.reference`, `source` (n, C) the s_n of
    a closed-form null, and `fresh` the credits under one fresh draw of feedback.
    """
    of = None if source is None else sources(source)
    for l, at in enumerate(states):
        at.add(h[l], credits[l], exact[l], working[l], of, None if fresh is None else fresh[l])
