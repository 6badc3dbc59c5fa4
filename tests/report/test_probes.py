"""What `faeval measure` shows of the probes of one trial."""

import io

from rich.console import Console
from studies import reading

from faeval.core.reading import ProbeReading
from faeval.report.terminal import PLAIN_WIDTH, show_probes

PROBES = ProbeReading(
    rho=0.101, rho_finite=0.202, rho_one_sided=0.303, rho_gradient=0.404,
    rho_gradient_one_sided=0.505, rho_random=-0.006, rho_random_one_sided=-0.007, nudge=-0.2,
    nudge_gradient=-0.8, step=0.01, images=128, directions=8,
)  # fmt: skip


def shown(*readings) -> str:
    text = io.StringIO()
    show_probes(Console(file=text, width=PLAIN_WIDTH, color_system=None), readings)
    return text.getvalue()


def test_every_probe_is_shown_with_its_controls_on_both_sides():
    text = shown(reading(1, probes=PROBES, update_error=3e-7))
    rows = [line.split() for line in text.splitlines() if line.startswith("h1")]
    assert rows[0] == ["h1", "+0.101", "+0.202", "+0.303", "+0.404", "+0.505", "-0.006", "-0.007"]
    assert rows[1][:5] == ["h1", "-2.0e-01", "25%", "+0.300", "3.0e-07"]
    assert "for each of 128 samples" in text
    assert max(map(len, text.splitlines())) <= PLAIN_WIDTH


def test_without_probes_nothing_is_shown():
    assert shown(reading(0), reading(1)) == ""
