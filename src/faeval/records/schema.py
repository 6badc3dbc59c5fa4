"""The record of a finished trial, validated on the way in and out."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from faeval.core.errors import InputError
from faeval.core.reading import Diagnostic, Reading
from faeval.core.score import Score
from faeval.core.spec import from_validation
from faeval.core.trial import Trial
from faeval.records.store import read_json, write_json

SCHEMA = 1


class Divergence(BaseModel):
    """Where a run left the finite numbers: epoch (from 1), and the first state that did,
    or None when only the loss did."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int
    layer: int | None


class Epoch(BaseModel):
    """Means over one epoch of training, in float: loss and accuracy (or R², see TrialRecord) on
    the (augmented) training batches as they were met, ‖h_l‖ of the last batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int
    loss: float
    accuracy: float
    state_norms: list[float]
    seconds: float


class TrialRecord(BaseModel):
    """What a trial left: status, test score, one reading per state, provenance.

    `score` says what `accuracy` holds, here and in `history`: the fraction of right answers, or for
    real targets R² = 1 − Σ‖ŷ − y‖² / Σ‖y − ȳ‖², at most 1 and possibly negative. Records from
    before it was kept have accuracy there.

    `diagnostics` holds what the rule says of its own working there; `device` is the accelerator or
    `cpu`, `processor` that of the machine, with `threads` of torch. Records from before these were
    kept have none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = SCHEMA
    trial: Trial
    status: Literal["completed", "diverged"]
    divergence: Divergence | None = None
    accuracy: float | None
    score: Score = "accuracy"
    layers: list[Reading]
    diagnostics: list[Diagnostic] = []
    history: list[Epoch]
    data_fingerprint: str
    device: str
    processor: str | None = None
    threads: int | None = None
    versions: dict[str, str]
    seconds: float

    def save(self, path: Path) -> None:
        """Write the record atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> "TrialRecord":
        """The record at `path`; InputError if it is missing, damaged or of another schema."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            # Parsing first, as JSON and as a version, takes twice the time: for bad news only.
            content = read_json(path)
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != SCHEMA:
            raise InputError(
                f"a record of schema version {SCHEMA} at {path}",
                f"version {version!r}",
                "read it with the faeval that wrote it, or train the trial again",
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise from_validation(error, f"the record {path}") from None


def load_trial(folder: Path) -> Trial:
    """The trial of a trial's folder; InputError if there is none."""
    try:
        return Trial.model_validate(read_json(folder / "trial.json"))
    except ValidationError as error:
        raise from_validation(error, f"the trial {folder}") from None
