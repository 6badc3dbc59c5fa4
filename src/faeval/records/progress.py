"""Where the trials of a running study stand."""

from dataclasses import dataclass
from typing import Literal

from faeval.core.trial import Trial


@dataclass(frozen=True)
class Progress:
    """Where a trial stands: finished epochs of all its epochs."""

    trial: Trial
    status: Literal["waiting", "running", "finished", "failed"]
    epochs: int
