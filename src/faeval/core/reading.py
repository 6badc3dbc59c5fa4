"""What was measured at one state. None stands for a number that is undefined or was not taken."""

from dataclasses import dataclass

from faeval.core import html


@dataclass(frozen=True)
class NullReading:
    """Where the batch-mean cosine lies among those of fresh feedback.

    mean, std  of the batch-mean cosine over fresh feedback; None if not finite
    p          one-sided p-value of the observed mean: chance of at least as much
    method     `gaussian-feedback` (closed form) or `monte-carlo`
    draws      number of Monte-Carlo draws; None for the closed form
    images     number of images that all of this is taken over, the first of the reading's (the
               spread over feedback depends on it)
    observed   the batch-mean cosine of the credit over these images
    fresh      the same of one fresh draw of feedback, which is none of the `draws`
    fresh_p    its one-sided p-value: fresh feedback stands above the null by chance alone
    """

    mean: float | None
    std: float | None
    p: float | None
    method: str
    draws: int | None
    images: int
    observed: float | None
    fresh: float | None = None
    fresh_p: float | None = None


@dataclass(frozen=True)
class PrecisionReading:
    """The gradient in one precision against float64; see `measurement.precision.Precision`.

    samples               size of the batch; under autocast, of the mean loss
    relative_error, _p95  median and 95 % quantile over samples of ‖g_dtype − g‖ / ‖g‖
    underflow             elements that vanished
    samples_lost          samples whose whole gradient vanished or overflowed
    cosine                mean cosine of the credit with this gradient
    cosine_reference      that with the float64 gradient, over the same samples
    conclusion_changes    whether the two differ by more than 0.01, or more than 1 % of the
                          samples are lost
    """

    dtype: str
    samples: int
    relative_error: float | None
    relative_error_p95: float | None
    underflow: int
    samples_lost: int
    cosine: float | None
    cosine_reference: float | None
    conclusion_changes: bool | None


@dataclass(frozen=True)
class DirectionReading:
    """Agreement of the batch-mean gradients of disjoint batches; near 1 is drift.

    cosine     mean pairwise cosine, for batches of `batch_size`
    coherence  ‖E g‖² / E‖g‖²: the same, free of the batch size
    """

    cosine: float | None
    coherence: float | None
    batches: int
    batch_size: int


@dataclass(frozen=True)
class ProbeReading:
    """What the credit does to the loss, beside its two controls.

    rho                 correlation of ⟨a, v⟩ with the change of the loss along random v, by the
                        exact derivative
    rho_finite          the same for a symmetric step of ±`step`·‖h‖: third order and beyond
    rho_one_sided       the same for a step of +`step`·‖h‖: curvature, which no credit predicts
    rho_gradient        `rho_finite` of the true gradient: should be near 1
    rho_random          `rho_finite` of a random vector: should be near 0
    rho_gradient_one_sided, rho_random_one_sided  one-sided: below 1 by what curvature takes, and
                        near 0
    nudge               mean change of the loss for a step of `step`·‖h‖ along −a
    nudge_gradient      the same along −g
    images, directions  what they were taken over
    """

    rho: float | None
    rho_finite: float | None
    rho_one_sided: float | None
    rho_gradient: float | None
    rho_gradient_one_sided: float | None
    rho_random: float | None
    rho_random_one_sided: float | None
    nudge: float | None
    nudge_gradient: float | None
    step: float
    images: int
    directions: int


@dataclass(frozen=True)
class Diagnostic:
    """What a rule says of its own working in a trained network; see `Rule.diagnostics`.

    name   of a number, or what is different from the one before it: `largest`
    value  None where it is not finite
    limit  what the value must not exceed for the rule to do what it claims; None where it claims
           nothing of the kind
    """

    name: str
    value: float | None
    limit: float | None = None

    @property
    def exceeded(self) -> bool:
        """Whether the value is beyond its limit, or no number where there is one."""
        return self.limit is not None and (self.value is None or self.value > self.limit)


@dataclass(frozen=True)
class Reading:
    """The numbers of one state h_l over the reading batch.

    All norms are means over samples of per-sample L2 norms, from the sum-reduced loss
    (no 1/N: independent of the batch size).

    state                     l
    samples                   size N of the reading batch
    undefined                 samples without a cosine: `zero` + `non_finite` vectors
    zero_credit               of these, the samples with a reference whose credit is the zero
                              vector: nothing is wrong with the reference there
    cosine_mean, cosine_std   of the per-sample cosine between credit and float64 reference
    cosine_low, cosine_high   95 % Student-t interval of the mean over images: it speaks for
                              other images under this very feedback, not for other feedback
    cosine_quantiles          5, 25, 50, 75 and 95 % over samples
    cosine_clamped            what common practice reports: F.cosine_similarity with its
                              defaults on float32 gradients of the mean loss over the batch
    reference_norm            ‖g_l‖
    reference_norm_mean_loss  ‖g_l‖/N: what published figures with a mean loss show
    credit_norm, state_norm   ‖a_l‖, ‖h_l‖
    state_norm_initial        ‖h_l‖ in the untrained network of the same seed, over the first 128
                              of the same images (with BatchNorm by their own statistics)
    credit_ratio              ‖a_l‖/‖g_l‖, median over samples
    sensitivity               ‖g_l‖·‖h_l‖: free of the scale of the residual stream
    reference_relative_error  median over samples of ‖g_work − g‖ / ‖g‖, working precision
    update_cosine             between the update that the rule gives to the parameters of the
                              stage that ends in h_l and the true one (mean over the probe images)
    update_error              how far that update is from its own closed form, in float64:
                              ‖u − u*‖ / max(‖u‖, ‖u*‖); see `train.updates`
    precisions                the working precision and any others asked for
    null, direction, probes   None where not taken
    """

    state: int
    samples: int
    undefined: int
    zero: int
    zero_credit: int
    non_finite: int
    cosine_mean: float | None
    cosine_std: float | None
    cosine_low: float | None
    cosine_high: float | None
    cosine_quantiles: tuple[float, float, float, float, float] | None
    cosine_clamped: float | None
    reference_norm: float | None
    reference_norm_mean_loss: float | None
    credit_norm: float | None
    state_norm: float | None
    credit_ratio: float | None
    sensitivity: float | None
    reference_relative_error: float | None
    state_norm_initial: float | None = None
    update_cosine: float | None = None
    update_error: float | None = None
    precisions: tuple[PrecisionReading, ...] = ()
    null: NullReading | None = None
    direction: DirectionReading | None = None
    probes: ProbeReading | None = None

    def _repr_html_(self) -> str:
        """The reading in a notebook: a row as the terminal prints it, undefined as a dash."""
        extent = (
            html.NONE
            if self.cosine_low is None or self.cosine_high is None
            else f"{self.cosine_low:+.2f} to {self.cosine_high:+.2f}"
        )
        std, p = (self.null.std, self.null.p) if self.null else (None, None)
        row = {
            "state": f"h{self.state}",
            "cosine": html.signed(self.cosine_mean),
            "95% images": extent,
            "images": html.NONE if self.cosine_std is None else f"±{self.cosine_std:.2f}",
            "null": html.NONE if std is None else f"±{std:.3f}",
            "p": html.NONE if p is None else f"{p:.2g}",
            "clamped": html.signed(self.cosine_clamped),
            "‖g‖": html.magnitude(self.reference_norm),
            "‖a‖": html.magnitude(self.credit_norm),
            "‖h‖": html.magnitude(self.state_norm),
            "error": html.magnitude(self.reference_relative_error),
            "undef": str(self.undefined),
        }
        noun = "sample" if self.samples == 1 else "samples"
        return html.table(list(row), [list(row.values())], caption=f"{self.samples} {noun}")
