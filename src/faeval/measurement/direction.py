"""Does the gradient still depend on the data, or does every batch point the same way?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.measurement.alignment import cosine, rescaled_together, summary

MIN_PER_BATCH = 2  # a mean of one sample is no batch mean


@dataclass(frozen=True)
class DirectionStability:
    """Cosines between the mean gradients of disjoint batches; NaN where none is defined.

    `mean`, `minimum`, `maximum` go over the batches·(batches − 1)/2 pairs, less the
    `undefined` ones with a mean of exactly zero. `coherence` is the same question free
    of the batch size. `excluded` samples held an inf or a NaN.
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
    needed = MIN_PER_BATCH * batches
    if batches < 2 or len(gradients) < needed:
        raise InputError(
            f"at least 2 batches and {max(needed, 2 * MIN_PER_BATCH)} samples",
            f"{batches} batches and {len(gradients)} samples",
            "measure more samples or ask for fewer batches",
        )
    rows = rescaled_together(gradients)  # one unit for all changes no cosine of means
    usable = rows.isfinite().all(dim=1)
    count = int(usable.sum())
    excluded = len(rows) - count
    if count < needed:
        nan = math.nan
        return DirectionStability(nan, nan, nan, nan, batches, 0, 0, excluded)

    size = count // batches
    order = torch.randperm(count, generator=generator)[: batches * size].to(rows.device)
    rows = rows[usable][order].reshape(batches, size, -1)
    means = rows.mean(dim=1)
    i, j = torch.triu_indices(batches, batches, offset=1, device=rows.device)
    pairs = cosine(means[i], means[j])
    values = pairs.defined
    least, most = (x.item() for x in values.aminmax()) if len(values) else (math.nan, math.nan)
    products = (means[i] * means[j]).sum(dim=1).mean()
    coherence = products / rows.square().sum(dim=2).mean()
    return DirectionStability(
        mean=summary(values).mean,
        minimum=least,
        maximum=most,
        coherence=coherence.item(),
        batches=batches,
        batch_size=size,
        undefined=pairs.undefined,
        excluded=excluded,
    )
