"""Logs of a trial, one JSON line per entry, kept in step with its checkpoint: what every epoch
of training met (`log.jsonl`), and the readings between epochs (`course.jsonl`)."""

from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from faeval.core.reading import Reading
from faeval.records.schema import Epoch
from faeval.records.store import write_bytes

Entry = TypeVar("Entry", bound=BaseModel)


class CourseReading(BaseModel):
    """The network in training, read after `epoch` epochs (0: untrained): one reading per state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int
    layers: list[Reading]


class _Log(Generic[Entry]):
    def __init__(self, path: Path, kind: type[Entry], keep: int) -> None:
        self.path = path
        self.entries = _read(path, kind)[:keep]
        write_bytes(path, "".join(_line(entry) for entry in self.entries).encode())

    def append(self, entry: Entry) -> None:
        """Add one entry; the line is on its way to the disk before this returns."""
        self.entries.append(entry)
        with self.path.open("a") as file:
            file.write(_line(entry))


class EpochLog(_Log[Epoch]):
    """Appends to `log.jsonl`. Reopened at a checkpoint, it forgets the epochs after it."""

    def __init__(self, path: Path, keep: int) -> None:
        """Keep the first `keep` epochs of what is there; they will be trained no more."""
        super().__init__(path, Epoch, keep)

    @property
    def epochs(self) -> list[Epoch]:
        """All epochs so far."""
        return self.entries


class CourseLog(_Log[CourseReading]):
    """Appends to `course.jsonl`, in the same way."""

    def __init__(self, path: Path, keep: int) -> None:
        """Keep the first `keep` readings of what is there."""
        super().__init__(path, CourseReading, keep)


def read_log(path: Path) -> list[Epoch]:
    """The epochs in a log, none if there is no log; a line torn by a kill ends it."""
    return _read(path, Epoch)


def read_course(path: Path) -> list[CourseReading]:
    """The readings in training, by the same terms."""
    return _read(path, CourseReading)


def _read(path: Path, kind: type[Entry]) -> list[Entry]:
    entries: list[Entry] = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                entries.append(kind.model_validate_json(line))
            except ValidationError:
                break
    return entries


def _line(entry: BaseModel) -> str:
    return entry.model_dump_json() + "\n"
