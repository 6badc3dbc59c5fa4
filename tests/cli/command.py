"""Calling `faeval` as a user does: in this process where that is enough, else in its own."""

import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

MODEL = "{name: resmlp, width: 8, depth: 2}"
SMALL = f"""\
data: digits
model: {MODEL}
rules: [bp, dfa]
penalties: [0.01]
seeds: [1]
epochs: 2
workers: 1
"""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "COLUMNS")}
    return plain | {"OMP_NUM_THREADS": "1"} | more


def process(*args: str | Path, **options) -> Result:
    """A process of its own: the entry point of the console script."""
    done = subprocess.run(
        [sys.executable, "-c", "from faeval.cli import main; main()", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
        **options,
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Call:
    """`call("audit", …)` runs the entry point here, with its exit code and what it printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd

    def __call__(self, *args: str | Path) -> Result:
        import torch

        from faeval.cli import main

        threads = torch.get_num_threads()
        self.monkeypatch.setattr(sys, "argv", ["faeval", *map(str, args)])
        self.capfd.readouterr()
        with warnings.catch_warnings():
            # Under pytest cyclopts warns of reading sys.argv, which is the point here.
            warnings.filterwarnings("ignore", "Cyclopts application invoked without tokens")
            with pytest.raises(SystemExit) as caught:
                main()
        torch.set_num_threads(threads)
        captured = self.capfd.readouterr()
        return Result(caught.value.code, captured.out, captured.err)
