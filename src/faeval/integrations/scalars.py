"""A measurement as named numbers: what trainers and trackers log."""

import math
from typing import get_args

from faeval.probe import Measured
from faeval.verdict.judge import Level

LEVELS: dict[str, int] = {level: i for i, level in enumerate(get_args(Level))}
"""trust 0, caution 1, refuse 2: a verdict as a curve to look at."""

FIELDS = {
    "cosine": "cosine_mean",
    "clamped": "cosine_clamped",
    "reference_norm": "reference_norm",
    "credit_norm": "credit_norm",
    "state_norm": "state_norm",
    "sensitivity": "sensitivity",
    "undefined": "undefined",
}


def scalars(measured: Measured) -> dict[str, float]:
    """`faeval/NUMBER/hL` → value, for the numbers of every state, and `faeval/verdict`.

    NUMBER is cosine, null_std (the standard deviation of the mean cosine under fresh feedback),
    clamped, reference_norm ‖g‖, credit_norm ‖a‖, state_norm ‖h‖, sensitivity ‖g‖‖h‖ or
    undefined (samples without a cosine). What is undefined or was not measured has no entry, so
    that a curve has a gap there and no zero.
    """
    found: dict[str, float] = {}
    for reading in measured.readings:
        values = {name: getattr(reading, field) for name, field in FIELDS.items()}
        values["null_std"] = reading.null and reading.null.std
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                found[f"faeval/{name}/h{reading.state}"] = float(value)
    found["faeval/verdict"] = float(LEVELS[measured.verdict.verdict])
    return found
