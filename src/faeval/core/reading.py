"""What was measured at one state."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """The numbers of one state h_l over the reading batch; None where undefined.

    All norms are means over samples of per-sample L2 norms, from the sum-reduced loss
    (no 1/N: independent of the batch size).

    state                     l
    samples                   size N of the reading batch
    undefined                 samples whose cosine is undefined (a zero or non-finite vector)
    cosine_mean, cosine_std   of the per-sample cosine between credit and float64 reference
    cosine_quantiles          5, 25, 50, 75 and 95 % over samples
    cosine_clamped            what common practice reports: F.cosine_similarity with its
                              defaults on float32 gradients of the mean loss over the batch
    reference_norm            ‖g_l‖
    reference_norm_mean_loss  ‖g_l‖/N: what published figures with a mean loss show
    credit_norm               ‖a_l‖
    state_norm                ‖h_l‖
    reference_relative_error  median over samples of ‖g_float32 − g_float64‖ / ‖g_float64‖
    reference_relative_error_p95  its 95 % quantile
    null_std                  standard deviation of the batch-mean cosine over fresh feedback
                              (closed form, where the credit is linear in Gaussian feedback)
    null_p                    two-sided p-value of cosine_mean under that null
    """

    state: int
    samples: int
    undefined: int
    cosine_mean: float | None
    cosine_std: float | None
    cosine_quantiles: tuple[float, float, float, float, float] | None
    cosine_clamped: float | None
    reference_norm: float | None
    reference_norm_mean_loss: float | None
    credit_norm: float | None
    state_norm: float | None
    reference_relative_error: float | None
    reference_relative_error_p95: float | None
    null_std: float | None = None
    null_p: float | None = None
