"""A measurement to Weights & Biases."""

from typing import Any

from faeval.integrations.scalars import scalars
from faeval.probe import Measured


def write(run: Any, step: int, measured: Measured) -> None:
    """Log the numbers of `scalars` at `step`, with the verdict and its reasons as the texts
    `faeval/verdict_text` and `faeval/because_of`. `run` is a `wandb.Run`, and yours: it is not
    finished.

        with wandb.init(mode="offline") as run:
            for step, measured in watching.items():
                write(run, step, measured)
    """
    run.define_metric("faeval/*", step_metric="faeval/step")
    row = {
        **scalars(measured),
        "faeval/step": step,
        "faeval/verdict_text": measured.verdict.verdict,
        "faeval/because_of": ", ".join(measured.verdict.reasons),
    }
    # Rows behind the run's own counter would be dropped: those go to its end, and their axis
    # is `faeval/step` all the same.
    run.log(row, step=step if step >= run.step else None)
