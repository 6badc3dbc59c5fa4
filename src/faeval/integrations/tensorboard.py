"""A measurement to TensorBoard."""

from typing import TYPE_CHECKING

from faeval.integrations.scalars import scalars
from faeval.probe import Measured

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter  # pyright: ignore[reportPrivateImportUsage]


def write(writer: "SummaryWriter", step: int, measured: Measured) -> None:
    """Write the numbers of `scalars` at `step`, and the measurement in full as the text
    `faeval/reading`. The writer is yours: it is neither flushed nor closed.

        with SummaryWriter("runs/dfa") as writer:
            for step, measured in watching.items():
                write(writer, step, measured)
    """
    for name, value in scalars(measured).items():
        writer.add_scalar(name, value, step)
    # Four spaces: a block of code in Markdown, so that the columns stay aligned.
    writer.add_text("faeval/reading", "    " + str(measured).replace("\n", "\n    "), step)
