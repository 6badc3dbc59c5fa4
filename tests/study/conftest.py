"""A third-party rule that misbehaves on demand, known to the workers by its entry point."""

import os
from pathlib import Path

import pytest

RULE = '''
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from faeval.rules import DFA


@dataclass(frozen=True)
class Unruly(DFA):
    """DFA that does `what` when its feedback is drawn, and notes that it was asked."""

    what: str = ""
    notes: str = ""

    def init(self, model, generator):
        asked = Path(self.notes) / f"{self.what}-{os.getpid()}-{time.monotonic_ns()}"
        before = list(Path(self.notes).glob(f"{self.what}-*"))
        asked.touch()
        if self.what == "raise":
            raise ArithmeticError("as told")
        if self.what == "die" or (self.what == "die once" and not before):
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().init(model, generator)
'''


@pytest.fixture
def unruly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of its notes; the rule `unruly` is then installed for new processes."""
    site = tmp_path / "site"
    info = site / "unruly-1.dist-info"
    info.mkdir(parents=True)
    (site / "unruly_rule.py").write_text(RULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: unruly\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[faeval.rules]\nunruly = unruly_rule:Unruly\n")
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(site))
    notes = tmp_path / "notes"
    notes.mkdir()
    return notes
