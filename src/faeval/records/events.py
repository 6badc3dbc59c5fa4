"""What happened to a study, for machines: one JSON line per event, appended to events.jsonl.

time    seconds since 1970
event   `command` that trains something (with line: what was typed; version: that of faeval),
        `begun` (with trials, untrained, workers), `started`, `finished`, `failed` (with cause),
        `lost` (with cause: the worker died, the trial will run again), `interrupted`, `ended` (with
        finished, failed)
trial   its id, where the event is that of a trial
"""

import json
import time
from pathlib import Path
from typing import Any


class Events:
    """Appends to the file at `path`; several processes may do so at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def tell(self, event: str, **details: Any) -> None:
        """Add one event."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **details})
        with self._path.open("a") as file:
            file.write(line + "\n")


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events at `path`, none if there is no file; a torn line is left out."""
    events = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
    return events
