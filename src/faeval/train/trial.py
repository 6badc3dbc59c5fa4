"""A trial from its folder to its record: train or go on, read, write down.

trial.json  log.jsonl  course.jsonl  checkpoint.safetensors  record.json
"""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.core.reading import Diagnostic, Reading
from faeval.core.score import Score
from faeval.core.trial import Trial
from faeval.data import Batches, Dataset, load
from faeval.data.labels import relabelled
from faeval.records.log import EpochLog
from faeval.records.schema import Divergence, TrialRecord, load_trial
from faeval.records.store import read_tensors, write_bytes, write_json, write_tensors
from faeval.train.course import Course
from faeval.train.fresh import fresh_feedback
from faeval.train.holdout import held_out
from faeval.train.loop import DivergedError, accuracy, train_epoch
from faeval.train.read import diagnose, initial_norms, read, reading_batch
from faeval.train.state import TrainState, fresh, restore, snapshot

CHECKPOINT = "checkpoint.safetensors"
SECONDS_BETWEEN_CHECKPOINTS = 2.0


@dataclass(frozen=True)
class SavedReading:
    """A trial read from its checkpoint after `epoch` epochs: one reading per state, its accuracy or
    R², as `score` says, and what the rule says of its own working."""

    trial: Trial
    epoch: int
    layers: list[Reading]
    accuracy: float
    score: Score
    diagnostics: list[Diagnostic]


def run_trial(
    trial: Trial,
    folder: Path,
    *,
    data_dir: Path | None,
    device: str,
    stop: Callable[[], bool] = lambda: False,
) -> TrialRecord | None:
    """Train `trial` in `folder` unless its record is there, and return the record.

    Goes on from a checkpoint if there is one, to the same bits as without interruption. A
    second process on the same folder waits for the first. `stop` is asked after every epoch;
    where it answers True, the trial is left in its checkpoint and None is returned. What is to be
    read with fresh feedback is not trained again where the same network lies in the folder beside.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        record_path = folder / "record.json"
        if (folder / "trial.json").exists():
            _same_trial(trial, folder)
        if record_path.exists():
            return TrialRecord.load(record_path)
        dataset = _dataset(trial, data_dir)
        write_json(folder / "trial.json", trial.model_dump(mode="json"))
        if trial.reading_feedback == "fresh" and not (folder / CHECKPOINT).exists():
            _take_over(trial, folder)
        record = _train(trial, folder, dataset, torch.device(device), stop)
        if record is not None:
            record.save(record_path)
        return record


def read_trial(folder: Path, *, data_dir: Path | None, device: str) -> SavedReading:
    """Read a saved trial again, without training; where training was interrupted, as it stood
    at its last checkpoint.

    Raises InputError where the checkpoint is missing or damaged, belongs to another
    architecture, or lacks its feedback.
    """
    trial = load_trial(folder)
    dataset = _dataset(trial, data_dir)
    state = _fresh(trial, dataset, torch.device(device))
    _restore_checked(state, folder / CHECKPOINT, dataset)
    try:
        layers, reached, said = _examine(state, trial, dataset, torch.device(device))
    except DivergedError as error:
        raise InputError(
            "a trial with finite numbers", f"one that {error}", "read another trial"
        ) from None
    return SavedReading(trial, state.epoch, layers, reached, dataset.score, said)


def _train(
    trial: Trial, folder: Path, dataset: Dataset, device: torch.device, stop: Callable[[], bool]
) -> TrialRecord | None:
    state = _fresh(trial, dataset, device)
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists():
        _restore_checked(state, checkpoint, dataset)
    log = EpochLog(folder / "log.jsonl", keep=state.epoch)
    if len(log.epochs) < state.epoch:
        raise InputError(
            f"a log of {state.epoch} epochs at {log.path}",
            f"{len(log.epochs)}",
            "restore the file, or delete the trial's folder to train it again",
        )
    split = relabelled(
        dataset.train, trial.labels, dataset.classes, generator(trial.seed, "labels")
    )
    batches = Batches(dataset, split, device)
    course = Course(folder / "course.jsonl", trial, dataset, device)
    saved_at = time.monotonic()

    def save() -> None:
        tensors, position = snapshot(state)
        write_tensors(checkpoint, tensors, {"data": dataset.fingerprint, **position})

    outcome: dict[str, Any]
    try:
        course.read(state)
        while state.epoch < trial.recipe.epochs:
            log.append(train_epoch(state, trial, batches))
            course.read(state)
            stopping = state.epoch < trial.recipe.epochs and stop()
            due = time.monotonic() - saved_at > SECONDS_BETWEEN_CHECKPOINTS
            if stopping or due or state.epoch == trial.recipe.epochs:
                save()
                saved_at = time.monotonic()
            if stopping:
                return None
        if not checkpoint.exists():
            save()  # an untrained network can be read again too
        layers, score, said = _examine(state, trial, dataset, device)
        outcome = {"status": "completed", "accuracy": score, "layers": layers, "diagnostics": said}
    except DivergedError as error:
        divergence = Divergence(epoch=error.epoch, layer=error.layer)
        outcome = {"status": "diverged", "divergence": divergence, "accuracy": None, "layers": []}
    return TrialRecord(
        trial=trial,
        history=log.epochs,
        score=dataset.score,
        data_fingerprint=dataset.fingerprint,
        device=_device_name(device),
        processor=_processor(),
        threads=torch.get_num_threads(),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in ("faeval", "torch", "numpy")},
        },
        seconds=sum(epoch.seconds for epoch in log.epochs),
        **outcome,
    )


def _take_over(trial: Trial, folder: Path) -> None:
    """Copy what training has left of the trial that differs in the feedback of its reading alone,
    if it lies beside `folder`; waits for whoever is training it. Not where training is read as it
    goes, for those readings are of other feedback."""
    twin = folder.parent / trial.model_copy(update={"reading_feedback": "trained"}).id
    if trial.recipe.course_epochs or not (twin / "trial.json").exists():
        return
    with FileLock(twin / ".lock"):
        for name in ("log.jsonl", CHECKPOINT):  # a log may be ahead of its checkpoint
            if (twin / name).exists():
                write_bytes(folder / name, (twin / name).read_bytes())


def _same_trial(trial: Trial, folder: Path) -> None:
    found = load_trial(folder)
    if found != trial:
        raise InputError(
            f"the folder of trial {trial.id}", f"that of {found.id}", "use another folder"
        )


def _fresh(trial: Trial, dataset: Dataset, device: torch.device) -> TrainState:
    return fresh(trial, dataset.input_shape, dataset.classes, device)


def _restore_checked(state: TrainState, checkpoint: Path, dataset: Dataset) -> None:
    tensors, meta = read_tensors(checkpoint)
    if meta.get("data") != dataset.fingerprint:
        raise InputError(
            f"data with the fingerprint {meta.get('data')} of {checkpoint}",
            dataset.fingerprint,
            "give the data it was trained on, or another --out DIR",
        )
    restore(state, tensors, meta)


def _examine(
    state: TrainState, trial: Trial, dataset: Dataset, device: torch.device
) -> tuple[list[Reading], float, list[Diagnostic]]:
    test = Batches(dataset, dataset.test, device)
    score = accuracy(state, test)
    x, y = reading_batch(test, trial.recipe.reading_images)
    recipe = trial.recipe
    feedback = state.feedback
    if trial.reading_feedback == "fresh":
        feedback = fresh_feedback(state.rule, state.model, feedback, "fresh feedback", trial.seed)
    layers = read(
        state.model,
        state.rule,
        feedback,
        x,
        y,
        credit_at=recipe.credit_at,
        probe_images=recipe.probe_images,
        seed=trial.seed,
    )
    before = initial_norms(_fresh(trial, dataset, device).model, x, y)
    layers = [
        replace(reading, state_norm_initial=norm)
        for reading, norm in zip(layers, before, strict=True)
    ]
    return layers, score, diagnose(state.model, state.rule, state.feedback, x, y)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _processor() -> str | None:
    """The model of the processor, or at least its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, None) or platform.processor() or platform.machine() or None


def _dataset(trial: Trial, data_dir: Path | None) -> Dataset:
    return held_out(_resident(trial.data, data_dir), trial.recipe.validation)


@cache
def _resident(data: str, data_dir: Path | None) -> Dataset:
    # A worker trains many trials on one data set: it loads it once.
    return load(data, data_dir)
