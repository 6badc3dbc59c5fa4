"""The time course: a network in training, read after the epochs that its recipe names."""

import math
from dataclasses import replace
from pathlib import Path

import torch

from faeval.core.reading import NullReading
from faeval.core.trial import Trial
from faeval.data import Batches, Dataset
from faeval.records.log import CourseLog, CourseReading
from faeval.train.fresh import fresh_feedback
from faeval.train.read import read, reading_batch
from faeval.train.state import TrainState

# The default schedule should take less than 5 % of the training time even on digit-sums, whose
# epochs are short. What a draw of feedback costs does not depend on the images.
IMAGES = 64
DRAWS = 4


class Course:
    """Readings in training, on the first 64 of the images that the record is read on, with the
    feedback of that moment and without probes. Nulls that have to be drawn are made of 4 draws,
    which allow no ranks (see `few_draws`), and left out before the first epoch.

    They are written as they are taken, and reopened at a checkpoint the file forgets those after
    it: a trial that was killed ends with the same file. Training goes on to the same bits.
    """

    def __init__(self, path: Path, trial: Trial, dataset: Dataset, device: torch.device) -> None:
        self._path, self._trial = path, trial
        self._due = trial.recipe.course_epochs
        self._batches = Batches(dataset, dataset.test, device)
        self._log: CourseLog | None = None

    def read(self, state: TrainState) -> None:
        """Read the network as it stands, if that is due after this epoch and was not done."""
        if not self._due:
            return
        if self._log is None:
            # What comes after the checkpoint that training goes on from will be read again.
            self._log = CourseLog(self._path, keep=sum(e <= state.epoch for e in self._due))
        entries = self._log.entries
        if state.epoch not in self._due or (entries and entries[-1].epoch >= state.epoch):
            return
        recipe = self._trial.recipe
        images = min(IMAGES, recipe.reading_images)
        x, y = reading_batch(self._batches, images)
        feedback = state.feedback
        if self._trial.reading_feedback == "fresh":
            seed = self._trial.seed
            feedback = fresh_feedback(state.rule, state.model, feedback, "fresh feedback", seed)
        layers = read(
            state.model,
            state.rule,
            feedback,
            x,
            y,
            credit_at=recipe.credit_at,
            probe_images=0,
            null_draws=DRAWS if state.epoch else 0,
        )
        layers = [replace(at, null=at.null and few_draws(at.null)) for at in layers]
        self._log.append(CourseReading(epoch=state.epoch, layers=layers))


def few_draws(null: NullReading) -> NullReading:
    """The null of m draws with p-values that take its shape to be Gaussian, as the closed form
    does, and its moments as estimated: one more draw lies at mean + t·std·√(1 + 1/m), t of
    Student's distribution with m − 1 degrees of freedom. A closed form stays as it is."""
    mean, std, draws = null.mean, null.std, null.draws
    if draws is None or mean is None or not std:
        return null
    from scipy.special import stdtr

    width = std * math.sqrt(1 + 1 / draws)

    def beyond(value: float | None) -> float | None:
        return None if value is None else float(stdtr(draws - 1, (mean - value) / width))

    return replace(null, p=beyond(null.observed), fresh_p=beyond(null.fresh))
