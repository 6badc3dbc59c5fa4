"""The time course: a network in training, read after the epochs that its recipe names."""

from pathlib import Path

import torch

from faeval.core.trial import Trial
from faeval.data import Batches, Dataset
from faeval.records.log import CourseLog, CourseReading
from faeval.train.fresh import fresh_feedback
from faeval.train.read import read, reading_batch
from faeval.train.state import TrainState

# The default schedule then takes less than 5 % of the training time even on digit-sums, whose
# epochs are short, and for rules whose null has to be drawn.
IMAGES = 64
DRAWS = 25  # the smallest p-value is 1/26


class Course:
    """Readings in training, on the first 64 of the images that the record is read on, with the
    feedback of that moment and without probes.

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
            null_draws=DRAWS,
        )
        self._log.append(CourseReading(epoch=state.epoch, layers=layers))
