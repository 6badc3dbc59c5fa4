"""Does the gradient still depend on the data, or does every batch point the same way?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.measurement.alignment import Rows, cosine, prepared, summary

MIN_PER_BATCH = 2  # a mean of one sample is no batch mean


@dataclass(frozen=True)
class DirectionStability:
    """Cosines between the mean gradients of disjoint batches; NaN where none is defined.

    `mean`, `minimum`, `maximum` go over the batches·(batches − 1)/2 pairs, less the
    `undefined` ones with a mean of exactly zero. `coherence` is the same question free
    of the batch size. `excluded` samples held an inf or a NaN; `batch_size` is the size of
    the smallest batch.
    """

    mean: float
    minimum: float
    maximum: float
    coherence: float
    batches: int
    batch_size: int
    undefined: int
    excluded: int


def direction_stability(
    gradients: Tensor, *, generator: torch.Generator, batches: int = 8
) -> DirectionStability:
    """Pairwise cosines of batch-mean gradients m_i over a random split into equal batches.

    For independent samples with mean μ and covariance Σ, disjoint batches of b samples
    have independent means, so E⟨m_i, m_j⟩ = ‖μ‖² without bias, while E‖m_i‖² =
    ‖μ‖² + tr Σ/b. Hence cos(m_i, m_j) is about ‖μ‖² / (‖μ‖² + tr Σ/b): about 0 for
    gradients without a common part, near 1 when the common part drowns the data (drift).
    It grows with b for any μ ≠ 0, so a threshold holds for one batch size. The batch-free

        coherence = mean_{i≠j}⟨m_i, m_j⟩ / mean_n ‖g_n‖²  ≈  ‖μ‖² / (‖μ‖² + tr Σ)

    has an unbiased numerator and may fall slightly below 0. Both baselines are over the
    draw of the images: samples centred on their own mean read −1/(batches − 1) instead
    of 0.

    Args:
        gradients: per-sample gradients (N, …), any real dtype and scale.
        generator: shuffles the samples (CPU). Up to batches − 1 samples are left over.
        batches: number of disjoint batches, ≥ 2; the published check asks for ≥ 8.

    Returns:
        DirectionStability. If samples that are not finite leave less than two per
        batch, the reading is NaN with batch_size 0.

    Raises:
        InputError: fewer than 2 batches, or fewer than 2·batches samples.

    Source: check (c) of arXiv 2606.21126.
    """
    gathered = BatchMeans(len(gradients), batches=batches, generator=generator)
    gathered.add(prepared(gradients))
    return gathered.stability()


class BatchMeans:
    """What `direction_stability` needs of the samples, gathered over chunks of them.

    Raises InputError as it does. The split is drawn at once, for all `samples` that are to
    come: one that is not finite leaves its place to the next, and at the end some place empty.
    """

    def __init__(self, samples: int, *, batches: int, generator: torch.Generator) -> None:
        needed = MIN_PER_BATCH * batches
        if batches < 2 or samples < needed:
            raise InputError(
                f"at least 2 batches and {max(needed, 2 * MIN_PER_BATCH)} samples",
                f"{batches} batches and {samples} samples",
                "measure more samples or ask for fewer batches",
            )
        size = samples // batches
        order = torch.randperm(samples, generator=generator)
        # One-hot: a sample's column names its batch; the samples left over have none.
        self._split = torch.zeros(batches, samples, dtype=torch.float64)
        self._split[torch.arange(batches * size) // size, order[: batches * size]] = 1.0
        self._count = self._excluded = 0
        # Powers of two apart, so that no square leaves the range: sums · unit, squares · unit².
        self._sums: Tensor | None = None
        self._squares = 0.0
        self._unit = 0.0

    def add(self, gradients: Rows) -> None:
        """The next samples."""
        rows, scale, length = gradients.values, gradients.scale.squeeze(1), gradients.length
        usable = ~length.isnan()
        if not usable.all():
            self._excluded += int((~usable).sum())
            rows, scale, length = rows[usable], scale[usable], length[usable]
        split = self._split[:, self._count : self._count + len(rows)].to(rows.device)
        self._count += len(rows)
        if self._sums is None:
            self._sums = rows.new_zeros(len(split), rows.shape[1])
        # A zero sample has the scale 1, whatever the others have.
        scale = scale.where(length > 0, 0.0)
        unit = max(self._unit, scale.max().item()) if len(scale) else self._unit
        if unit == 0:
            return
        earlier, relative = self._unit / unit, scale / unit
        self._sums = self._sums.mul_(earlier).addmm_(split * relative, rows)
        # Every column of the split is one-hot, or zero.
        squares = (split @ (length * relative).square()).sum().item()
        self._squares = self._squares * earlier**2 + squares
        self._unit = unit

    def stability(self) -> DirectionStability:
        """The agreement between the batches of all samples so far."""
        sizes = self._split[:, : self._count].sum(dim=1)
        batches, smallest = len(sizes), int(sizes.min())
        if self._sums is None or smallest < MIN_PER_BATCH:
            nan = math.nan
            return DirectionStability(nan, nan, nan, nan, batches, 0, 0, self._excluded)
        means = self._sums / sizes.to(self._sums.device)[:, None]
        i, j = torch.triu_indices(batches, batches, offset=1, device=means.device)
        pairs = cosine(means[i], means[j])
        values = pairs.defined
        least, most = (x.item() for x in values.aminmax()) if len(values) else (math.nan, math.nan)
        products = (means[i] * means[j]).sum(dim=1).mean().item()
        mean_square = self._squares / sizes.sum().item()
        return DirectionStability(
            mean=summary(values).mean,
            minimum=least,
            maximum=most,
            coherence=products / mean_square if mean_square else math.nan,
            batches=batches,
            batch_size=smallest,
            undefined=pairs.undefined,
            excluded=self._excluded,
        )
