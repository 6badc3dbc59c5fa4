"""Progress where there is no terminal: plain lines, and time left by the pace so far."""

import io

import pytest
from rich.console import Console
from studies import trial

from faeval.core.trial import Recipe
from faeval.records.progress import Progress
from faeval.report.progress import _Lines, duration

TRIALS = {t.seed: t.model_copy(update={"recipe": Recipe(epochs=10)}) for t in map(trial, (1, 2, 3))}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told():
    """What was printed since the last look, after `seconds` more."""
    clock, stream = Clock(), io.StringIO()
    lines = _Lines(Console(file=stream, width=100, highlight=False), clock)

    def look(seconds: float, *trials: Progress) -> list[str]:
        clock.now += seconds
        lines(trials)
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        return text.splitlines()

    return look


def at(seed: int, status: str, epochs: int = 0) -> Progress:
    return Progress(TRIALS[seed], status, epochs)


def test_every_minute_a_line_tells_what_is_done_and_left(told):
    waiting = at(3, "waiting")
    assert told(0, at(1, "running"), at(2, "running"), waiting) == []
    assert told(30, at(1, "running", 2), at(2, "running", 1), waiting) == []
    first, one, two = told(30, at(1, "running", 4), at(2, "running", 1), waiting)
    assert first == "trials: 0 finished, 2 running, 0 failed, 1 left"
    # Four epochs in a minute: six more take a minute and a half.
    assert one.strip() == f"{TRIALS[1].id} 4/10 epochs, 90 s left"
    assert two.strip() == f"{TRIALS[2].id} 1/10 epochs, 9 min left"
    assert told(30, at(1, "running", 4), at(2, "running", 1), waiting) == []


def test_a_trial_that_ends_is_told_at_once(told):
    told(0, at(1, "running"), at(2, "waiting"))
    (line,) = told(1, at(1, "finished"), at(2, "running"))
    assert line == f"1/2 {at(1, 'running').trial.id} finished"
    (line,) = told(1, at(1, "finished"), at(2, "failed"))
    assert line.endswith("failed")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99.4, "99 s"), (99.6, "2 min"), (5900, "98 min"), (6030, "1 h 40 min"),
     (11100, "3 h 05 min")],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text
