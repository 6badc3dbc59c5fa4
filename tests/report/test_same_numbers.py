"""One set of numbers: in HTML, Markdown, LaTeX, CSV, JSON and on the terminal."""

import csv
import io
import re
from html import unescape
from html.parser import HTMLParser

import pytest
from materials import courses, material, record, sweep, tuned
from studies import LEVEL

from faeval.core.reading import Diagnostic
from faeval.report import html
from faeval.report.conclusion import show_conclusions
from faeval.report.paper import appendix, csv_files, tables, tables_latex, tables_markdown
from faeval.report.provenance import provenance
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
    assert len(tables(study)) == 9
    for table in tables(study).values():
        assert parser.found[table.title] == [list(table.headings), *map(list, table.rows)]
        for row in table.rows:
            assert f"| {' | '.join(row)} |" in markdown
            assert " & ".join(map(latex_text, row)) + r" \\" in latex


def test_the_terminal_holds_the_same_cells(study, capsys):
    show_study(console(), study.title, study.judgement, LEVEL)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for label, table in tables(study).items():
        if label.startswith("controls"):
            continue
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
    states = [row for label, t in tables(study).items() if label[:6] == "states" for row in t.rows]
    columns = ("cosine", "cosine_low", "cosine_high", "spread", "null", "clamped",
               "reference_norm", "credit_norm", "state_norm", "reference_error")  # fmt: skip
    for line, row in zip(files["states.csv"], states, strict=True):
        assert line["state"] == row[0]
        texts = NUMBER.findall(" ".join(row[1:-1]))
        values = [float(line[c]) for c in columns if line[c]]
        assert len(texts) == len(values)
        assert all(same(t, v) for t, v in zip(texts, values, strict=True))


def test_csv_holds_every_finding_and_those_on_the_study_as_a_whole(study):
    """A bug: the latter were in all other forms of the report."""
    lines = list(csv.DictReader(io.StringIO(csv_files(study)["findings.csv"])))
    judged, whole = list(study.judgement.findings), list(study.conclusions)
    assert whole
    assert [line["about"] for line in lines] == ["method"] * len(judged) + ["study"] * len(whole)
    for line, finding in zip(lines, [*judged, *whole], strict=True):
        assert (line["check"], line["status"]) == (finding.check, finding.status)
        assert line["evidence"] == finding.evidence
        assert line["value"] == ("" if finding.value is None else repr(finding.value))


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


@pytest.fixture(scope="module")
def tuned_study():
    records = tuned()
    read = {id: some for id, some in courses(records).items() if id.startswith("dfa")}
    line = "2026-01-02 03:04 UTC: faeval study learning-rate --rules dfa"
    return material(records, courses=read, commands=(line,))


@pytest.fixture(scope="module")
def tuned_page(tuned_study) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "_bundle", lambda: "")
        return html.report(tuned_study)


def test_rates_onsets_and_controls_are_the_same_cells_everywhere(tuned_study, tuned_page):
    parser = Tables()
    parser.feed(tuned_page)
    markdown, latex = tables_markdown(tuned_study), tables_latex(tuned_study)
    labels = ("rates-dfa", "onsets-dfa", "controls-dfa")
    for label in labels:
        table = tables(tuned_study)[label]
        assert parser.found[table.title] == [list(table.headings), *map(list, table.rows)]
        for row in table.rows:
            assert f"| {' | '.join(row)} |" in markdown
            assert " & ".join(map(latex_text, row)) + r" \\" in latex


def test_the_rates_are_those_of_the_records_and_the_chosen_ones_are_named(tuned_study):
    (curve,) = tuned_study.curves
    rows = tables(tuned_study)["rates-dfa"].rows
    for row, rate in zip(rows, (1e-3, 5e-3), strict=True):
        assert row[0] == str(rate)
        for text, blocks in ((row[1], 4), (row[2], 0)):
            tried = [r.accuracy for r in tuned_study.tuning if r.trial.trainable_blocks == blocks
                     and r.trial.recipe.learning_rate == rate]  # fmt: skip
            assert len(tried) == 2
            assert same(text, sum(tried) / 2)
    assert [row[-1] for row in rows] == ["", "trained and frozen"]
    assert (curve.best, curve.best_control) == (5e-3, 5e-3)


def test_the_onsets_are_the_first_epochs_that_flag(tuned_study):
    rows = {row[0]: row[1:] for row in tables(tuned_study)["onsets-dfa"].rows}
    assert rows["scale stability"] == ("2", "2")
    assert set(rows["layer mean"]) == {"never"}


def test_controls_are_the_readings(tuned_study):
    (member,) = tuned_study.members
    at = list(zip(*(r.layers for r in member.records), strict=True))
    for row, readings in zip(tables(tuned_study)["controls-dfa"].rows, at, strict=True):
        assert same(row[2], sum(r.null.fresh for r in readings) / 2)
        assert same(row[4], sum(r.update_cosine for r in readings) / 2)
        assert same(row[5], max(r.update_error for r in readings))


def test_what_the_study_says_is_on_the_page_in_the_words_of_the_terminal(
    tuned_study, tuned_page, capsys
):
    show_conclusions(console(), tuned_study.conclusions)
    words = " ".join(capsys.readouterr().out.split())
    text = " ".join(re.sub(r"<[^>]+>", "", unescape(tuned_page)).split())
    markdown = tables_markdown(tuned_study)
    checks = [f.check for f in tuned_study.conclusions]
    assert checks == ["learning rate", "early epochs"]
    for f in tuned_study.conclusions:
        said = f"{f.method}, {f.check}: {f.evidence}. {f.consequence}"
        assert said in words
        assert said in text
        assert f.sentence in markdown


def test_provenance_tells_commands_and_processor_or_that_they_were_not_recorded(
    study, page, tuned_page
):
    assert "faeval study learning-rate --rules dfa" in tuned_page
    known = dict(provenance(study))
    assert (known["processor"], known["commands"]) == ("not recorded", "not recorded")
    named = material([record(1).model_copy(update={"processor": "Z80", "threads": 1})])
    assert dict(provenance(named))["processor"] == "Z80, 1 thread per trial"


def test_what_a_rule_says_of_itself_is_told_everywhere(capsys):
    residual = Diagnostic("residual", 0.4, 0.1)
    told = material([record(1).model_copy(update={"diagnostics": [residual]})])
    show_study(console(), told.title, told.judgement, LEVEL)
    words = " ".join(capsys.readouterr().out.split())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "_bundle", lambda: "")
        text = html.report(told)
    assert "· rule's own account: residual 0.4 (limit 0.1). The rule did not" in words
    assert "residual 0.4 (limit 0.1)" in text
    (trial,) = as_json(told.records, told.judgement)["trials"]
    assert trial["diagnostics"] == [{"name": "residual", "value": 0.4, "limit": 0.1}]
