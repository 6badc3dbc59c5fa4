"""The log of a trial: one JSON line per epoch, kept in step with its checkpoint."""

from pathlib import Path

from pydantic import ValidationError

from faeval.records.schema import Epoch
from faeval.records.store import write_bytes


class EpochLog:
    """Appends to `log.jsonl`. Reopened at a checkpoint, it forgets the epochs after it."""

    def __init__(self, path: Path, keep: int) -> None:
        """Keep the first `keep` epochs of what is there; they will be trained no more."""
        self.path = path
        self.epochs = read_log(path)[:keep]
        write_bytes(path, "".join(_line(epoch) for epoch in self.epochs).encode())

    def append(self, epoch: Epoch) -> None:
        """Add one epoch; the line is on its way to the disk before this returns."""
        self.epochs.append(epoch)
        with self.path.open("a") as file:
            file.write(_line(epoch))


def read_log(path: Path) -> list[Epoch]:
    """The epochs in a log, none if there is no log; a line torn by a kill ends it."""
    epochs: list[Epoch] = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                epochs.append(Epoch.model_validate_json(line))
            except ValidationError:
                break
    return epochs


def _line(epoch: Epoch) -> str:
    return epoch.model_dump_json() + "\n"
