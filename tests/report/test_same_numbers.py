"""One set of numbers: in HTML, Markdown, LaTeX, CSV, JSON and on the terminal."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from materials import material, record, sweep
from studies import LEVEL

from faeval.report import html
from faeval.report.paper import appendix, csv_files, tables, tables_latex, tables_markdown
from faeval.report.tables import GAIN_INTERVAL, latex_text
from faeval.report.terminal import console, show_study
from faeval.report.view import as_json

NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]\d+)?")


@pytest.fixture(scope="module")
def study():
    return material(sweep())


@pytest.fixture(scope="module")
def page(study) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "_bundle", lambda: "")  # no number is in it, and it takes seconds
        return html.report(study)


class Tables(HTMLParser):
    """The text of every table, cell by cell, by its caption."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[list[str]]] = {}
        self.rows: list[list[str]] = []
        self.caption, self.inside = "", ""

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.rows = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        self.inside = tag if tag in ("td", "th", "caption") else self.inside
        if tag == "caption":
            self.caption = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th", "caption"):
            self.inside = ""
        if tag == "table":
            self.found.setdefault(self.caption, self.rows)

    def handle_data(self, data):
        if self.inside == "caption":
            self.caption += data
        elif self.inside:
            self.rows[-1][-1] += data


def same(text: str, value: float) -> bool:
    """Whether a written number is `value`, rounded where it ends."""
    mantissa, _, exponent = text.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return abs(float(text) - value) <= 0.5001 * 10.0 ** (int(exponent or 0) - decimals)


def test_html_markdown_and_latex_hold_the_same_cells(study, page):
    parser = Tables()
    parser.feed(page)
    markdown, latex = tables_markdown(study), tables_latex(study)
    assert len(tables(study)) == 5
    for table in tables(study).values():
        assert parser.found[table.title] == [list(table.headings), *map(list, table.rows)]
        for row in table.rows:
            assert f"| {' | '.join(row)} |" in markdown
            assert " & ".join(map(latex_text, row)) + r" \\" in latex


def test_the_terminal_holds_the_same_cells(study, capsys):
    show_study(console(), study.title, study.judgement, LEVEL)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for label, table in tables(study).items():
        shown = table.without(GAIN_INTERVAL) if label == "methods" else table
        for row in shown.rows:
            assert " ".join(row).split() in lines


def test_csv_rounds_to_the_same_cells(study):
    files = {name: list(csv.DictReader(io.StringIO(text)))
             for name, text in csv_files(study).items()}  # fmt: skip
    methods = tables(study)["methods"]
    columns = ("accuracy", "accuracy_low", "accuracy_high", "control")
    for line, row in zip(files["methods.csv"], methods.rows, strict=True):
        assert (line["method"], line["verdict"]) == (row[0], row[6])
        texts = NUMBER.findall(" ".join(row[1:4]))
        assert all(same(t, float(line[c])) for t, c in zip(texts, columns, strict=True))
        gains = NUMBER.findall(row[4] + " " + row[5])
        values = [100 * float(line[c]) for c in ("gain", "gain_low", "gain_high")]
        assert all(same(t, v) for t, v in zip(gains, values, strict=True))
    states = [row for label, t in tables(study).items() if label != "methods" for row in t.rows]
    columns = ("cosine", "cosine_low", "cosine_high", "spread", "null", "clamped",
               "reference_norm", "credit_norm", "state_norm", "reference_error")  # fmt: skip
    for line, row in zip(files["states.csv"], states, strict=True):
        assert line["state"] == row[0]
        texts = NUMBER.findall(" ".join(row[1:-1]))
        values = [float(line[c]) for c in columns if line[c]]
        assert len(texts) == len(values)
        assert all(same(t, v) for t, v in zip(texts, values, strict=True))


def test_json_means_are_the_cells(study):
    layers = {}
    for trial in as_json(study.records, study.judgement)["trials"]:
        if trial["trainable_blocks"] == 4:
            layers.setdefault((trial["rule"], trial["penalty"]), []).append(trial["layers"])
    for member in study.members:
        of_seeds = layers[member.method.rule, member.method.penalty]
        for row, at in zip(
            tables(study)[f"states-{member.slug}"].rows, zip(*of_seeds, strict=True), strict=False
        ):
            for place, name in ((1, "cosine_mean"), (5, "cosine_clamped"), (6, "reference_norm")):
                assert same(row[place], sum(r[name] for r in at) / len(at))


def test_the_page_says_what_the_terminal_says(study, page, capsys):
    show_study(console(), study.title, study.judgement, LEVEL)
    words = " ".join(capsys.readouterr().out.split())
    text = " ".join(re.sub(r"<[^>]+>", " ", page[: page.index('id="specs"')]).split())
    for finding in study.judgement.findings:
        if f"{finding.evidence}. {finding.consequence}" in words:
            assert finding.evidence in text
            assert finding.consequence in text
    assert words.count("passed:") == text.count("passed :")


def test_the_appendix_holds_every_check_and_pitfall(study):
    text = appendix(study)
    for finding in study.judgement.findings:
        assert finding.evidence.replace("|", "\\|") in text
    assert len(re.findall(r"^- \[[x ]\] ", text, re.MULTILINE)) == 6
    for word in (
        "signal: a_l = e_T B_lᵀ",
        "granularity: block",
        "terminal LayerNorm",
        "seeds: 1, 2",
        "aggregation",
        "provenance of the feedback: fixed",
        "fingerprint f00d",
    ):
        assert word in text


def test_a_pitfall_is_not_ticked_without_evidence():
    lost = material([record(1, diverged=True)])
    assert "- [x] cosines are not clamped" not in appendix(lost)
    assert "- [ ] cosines are not clamped at eps = 1e-8: no cosine was read" in appendix(lost)
