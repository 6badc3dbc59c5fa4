"""A third-party rule that misbehaves on demand, and data that are there at once, both known
to the workers by their entry points."""

import os
import sys
from pathlib import Path

import pytest

from faeval.data import DATA
from faeval.rules import RULES

RULE = '''
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from faeval.data import Dataset, Source, Split
from faeval.rules import DFA


def specks(data_dir=None):
    """A few random samples: a worker needs no scikit-learn for them."""
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.rand(40, 6, generator=draw), torch.arange(40) % 4)
    return Dataset(
        name="specks", train=split, test=split, classes=4, fingerprint="f00d",
        mean=torch.zeros(6), std=torch.ones(6),
    )


SPECKS = Source("a few random samples", specks)


@dataclass(frozen=True)
class Unruly(DFA):
    """DFA that does `what` when its feedback is drawn, and notes that it was asked. What dies
    waits for one that dies once: two workers then die together, whichever is there first."""

    what: str = ""
    notes: str = ""

    def init(self, model, generator):
        asked = Path(self.notes) / f"{self.what}-{os.getpid()}-{time.monotonic_ns()}"
        before = list(Path(self.notes).glob(f"{self.what}-*"))
        asked.touch()
        patience = time.monotonic() + 20
        while self.what == "die" and not list(Path(self.notes).glob("die once-*")):
            assert time.monotonic() < patience, "nothing that dies once was run"
            time.sleep(0.05)
        if self.what == "raise":
            raise ArithmeticError("as told")
        if self.what == "die" or (self.what == "die once" and not before):
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().init(model, generator)
'''


@pytest.fixture
def unruly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of its notes; the rule `unruly` is then installed, for new processes and here."""
    site = tmp_path / "site"
    info = site / "unruly-1.dist-info"
    info.mkdir(parents=True)
    (site / "unruly_rule.py").write_text(RULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: unruly\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[faeval.rules]\nunruly = unruly_rule:Unruly\n"
        "[faeval.data_sets]\nspecks = unruly_rule:SPECKS\n"
    )
    for registry in (RULES, DATA):  # which know what is installed without it, and look anew
        monkeypatch.setattr(registry, "_entries", dict(registry.items()))
        monkeypatch.setattr(registry, "_discovered", False)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "unruly_rule", raising=False)
    notes = tmp_path / "notes"
    notes.mkdir()
    return notes
