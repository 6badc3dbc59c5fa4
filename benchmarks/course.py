"""What the time course costs: its readings against the training between them.

    python benchmarks/course.py [--data NAME] [--epochs N] [RULE ...]

Seconds of computing (processor time) with the default network, recipe and schedule; one process,
one thread. A run of one epoch before warms up what is made once.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from faeval.core.trial import Trial
from faeval.data import Batches, load
from faeval.study.plan import StudyConfig, plan
from faeval.train.course import Course
from faeval.train.loop import train_epoch
from faeval.train.state import fresh

CPU = torch.device("cpu")
RULES = ("dfa", "fa", "eqprop", "kolen_pollack")


def seconds(trial: Trial, folder: Path) -> tuple[float, float]:
    """Processor seconds of training, and of the readings in between."""
    dataset = load(trial.data)
    state = fresh(trial, dataset.input_shape, dataset.classes, CPU)
    batches = Batches(dataset, dataset.train, CPU)
    course = Course(folder / f"{trial.id}.jsonl", trial, dataset, CPU)
    training = reading = 0.0
    while True:
        started = time.process_time()
        course.read(state)
        reading += time.process_time() - started
        if state.epoch == trial.recipe.epochs:
            return training, reading
        started = time.process_time()
        train_epoch(state, trial, batches)
        training += time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rules", nargs="*", default=RULES)
    parser.add_argument("--data", default="digit-sums")
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keys = {"data": options.data, "rules": list(options.rules), "penalties": [0.0], "seeds": [1]}
    changes = {} if options.epochs is None else {"epochs": options.epochs}
    with tempfile.TemporaryDirectory() as name:
        for method in plan(StudyConfig.parse(keys | changes)).methods:
            (trial,) = method.trials
            short = trial.recipe.model_copy(update={"epochs": 1})
            seconds(trial.model_copy(update={"recipe": short}), Path(name))
            training, reading = seconds(trial, Path(name))
            print(
                f"{method.rule:<16}{training:7.2f} s of training, {reading:.3f} s of readings: "
                f"{reading / training:.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
