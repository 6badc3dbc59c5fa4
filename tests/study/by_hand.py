"""Records that nothing was trained for."""

from faeval.core.reading import DirectionReading, NullReading, PrecisionReading, Reading
from faeval.core.trial import Trial
from faeval.records.schema import Epoch, TrialRecord


def reading(state: int, cosine: float = 0.4) -> Reading:
    return Reading(
        state=state, samples=100, undefined=0, zero=0, zero_credit=0, non_finite=0,
        cosine_mean=cosine, cosine_std=0.1, cosine_low=cosine - 0.01, cosine_high=cosine + 0.01,
        cosine_quantiles=(0.1, 0.2, 0.3, 0.4, 0.5), cosine_clamped=cosine, reference_norm=0.1,
        reference_norm_mean_loss=1e-3, credit_norm=1.0, state_norm=10.0, credit_ratio=10.0,
        sensitivity=1.0, reference_relative_error=1e-7, update_cosine=0.4,
        precisions=(PrecisionReading("float32", 100, 1e-7, 2e-7, 0, 0, 0.4, 0.4, False),),
        null=NullReading(0.0, 0.02, 1e-6, "gaussian-feedback", None, 100, cosine),
        direction=DirectionReading(0.4, 0.1, 8, 12),
    )  # fmt: skip


def record(trial: Trial, accuracy: float | None, **changes) -> TrialRecord:
    """A finished trial with a reading for each of its states."""
    fields = {
        "trial": trial,
        "status": "completed",
        "accuracy": accuracy,
        "layers": [reading(l) for l in range(trial.model["depth"] + 1)],
        "history": [
            Epoch(epoch=e + 1, loss=1.0, accuracy=0.5, state_norms=[1.0, 1.0, 1.0], seconds=0.5)
            for e in range(trial.recipe.epochs)
        ],
        "data_fingerprint": "f00d",
        "device": "cpu",
        "versions": {"faeval": "1", "torch": "2"},
        "seconds": 1.0,
    }
    return TrialRecord(**(fields | changes))
