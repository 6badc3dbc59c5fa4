"""A notebook shows what the terminal prints: the same words and numbers in the same order."""

import io
import xml.etree.ElementTree as ET

import pytest
import torch
from rich.console import Console
from studies import LEVEL, STUDIES, method, reading
from torch import nn

import faeval
from faeval.report.material import Material
from faeval.report.notebook import Page, study_html
from faeval.report.terminal import show_states, show_study
from faeval.report.view import state_rows
from faeval.verdict.finding import Finding
from faeval.verdict.judge import Verdict
from faeval.verdict.method import Thresholds

WIDE = 10_000  # nothing wraps, so that words keep their order


def words(html: str) -> list[str]:
    """The words of well-formed HTML, in order; the parser raises for anything else."""
    blocks = {"p", "td", "th", "caption", "summary"}
    texts = ["".join(e.itertext()) for e in ET.fromstring(html).iter() if e.tag in blocks]
    return " ".join(texts).split()


def printed(show) -> list[str]:
    out = io.StringIO()
    show(Console(file=out, width=WIDE, color_system=None, highlight=False))
    return out.getvalue().split()


def measured(name="<b>mine</b> & co"):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    feedback = torch.randn(5, 3)
    return faeval.measure(
        net, states=["0"], batch=(torch.randn(30, 4), torch.randint(3, (30,))), name=name,
        credits=lambda trace: [trace.error @ feedback.T], null="gaussian",
    )  # fmt: skip


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_reads_as_on_the_terminal(name):
    judgement = STUDIES[name]()
    html = study_html("digits & more", judgement, LEVEL)
    assert words(html) == printed(lambda out: show_study(out, "digits & more", judgement, LEVEL))
    assert len(ET.fromstring(html).findall(".//table")) > 1


def test_the_material_of_a_report_shows_its_study():
    judgement = STUDIES["typical"]()
    material = Material("x", judgement, Thresholds(), (), (), {}, {}, (), None)
    assert material._repr_html_() == study_html("x", judgement, Thresholds().level)


def test_a_measurement_reads_as_on_the_terminal():
    m = measured()
    assert words(m._repr_html_()) == str(m).split()
    assert "<b>mine" not in m._repr_html_()


def test_tables_say_what_their_cells_are():
    table = ET.fromstring(measured()._repr_html_()).find(".//table")
    heads = table.findall("thead/tr/th")
    assert {h.get("scope") for h in heads} == {"col"}
    for row in table.findall("tbody/tr"):
        assert row[0].get("scope") == "row"
        assert len(row) == len(heads)


def test_no_colour_is_chosen():
    for html in (measured()._repr_html_(), study_html("x", STUDIES["typical"](), LEVEL)):
        styles = {e.get("style") for e in ET.fromstring(html).iter() if e.get("style")}
        assert styles <= {"text-align:left", "text-align:right"}


@pytest.mark.parametrize("state", range(5))
def test_a_reading_has_the_numbers_of_the_terminal(state):
    """One seed: its row in the table of its method."""
    of_method = method(1)
    page = Page()
    show_states(page, "", state_rows(of_method, LEVEL), LEVEL)

    def rows(html):
        table = ET.fromstring(html).find(".//table") if html[:4] == "<div" else ET.fromstring(html)
        heads = [h.text for h in table.findall("thead/tr/th")]
        return [
            dict(zip(heads, (c.text or "" for c in row), strict=True))
            for row in table.findall("tbody/tr")
        ]

    theirs = rows(page.html)[state]
    (ours,) = rows(of_method.runs[0].layers[state]._repr_html_())
    shared = ours.keys() & theirs.keys()
    assert {
        "state",
        "cosine",
        "images",
        "null",
        "clamped",
        "‖g‖",
        "‖h‖",
        "error",
        "undef",
    } <= shared
    assert {k: ours[k] for k in shared} == {k: theirs[k] for k in shared}


def test_an_undefined_reading_says_so():
    blind = {"cosine_mean": None, "cosine_std": None, "cosine_low": None, "null": None}
    row = words(reading(2, undefined=360, **blind)._repr_html_())
    assert row.count("–") == 5
    assert row[-1] == "360"


def test_findings_and_verdicts():
    finding = Finding("dfa", "growth", "flag", "refuse", 60.0, 50.0, -10.0, "‖h‖ < & >", "Bad.")
    assert words(finding._repr_html_()) == ["✗", "growth:", "‖h‖", "<", "&", ">.", "Bad."]
    for status, severity, mark in (
        ("pass", "refuse", "✓"), ("unmeasured", "caution", "?"), ("flag", "note", "·"),
    ):  # fmt: skip
        other = Finding("dfa", "growth", status, severity, None, None, None, "Seen", "So.")
        assert words(other._repr_html_())[0] == mark
    verdict = Verdict("<dfa>", "caution", ("a", "b"))
    assert words(verdict._repr_html_()) == ["<dfa>:", "caution", "(a,", "b)"]
    assert words(Verdict("bp", "trust", ())._repr_html_()) == ["bp:", "trust"]


@pytest.mark.parametrize("name", STUDIES)
def test_a_judgement_shows_every_verdict_and_every_finding(name):
    judgement = STUDIES[name]()
    root = ET.fromstring(judgement._repr_html_())
    rows = [[c.text or "" for c in row] for row in root.findall("table/tbody/tr")]
    assert rows == [[v.method, v.verdict, ", ".join(v.reasons)] for v in judgement.verdicts]
    shown = [len(d.findall("p")) for d in root.findall("details")]
    assert shown == [len(judgement.findings_on(v.method)) for v in judgement.verdicts]


def test_what_a_page_cannot_show_is_an_error():
    with pytest.raises(TypeError, match="object"):
        Page().print(object())
