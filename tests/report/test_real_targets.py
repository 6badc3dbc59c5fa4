"""Networks with real targets are scored by R², and nowhere is it called accuracy."""

import csv
import io
import json
import re
from html import unescape

import pytest
from materials import courses, material, sweep, tuned
from studies import LEVEL

import faeval
from faeval.report import html
from faeval.report.conclusion import show_conclusions
from faeval.report.figures import accuracy_figure, ladder_figure, penalty_figures, rate_figure
from faeval.report.paper import appendix, csv_files, tables, tables_latex, tables_markdown
from faeval.report.terminal import console, show_study
from faeval.report.view import as_json
from faeval.study.config import StudyConfig
from faeval.study.plan import plan
from faeval.train.trial import run_trial
from faeval.verdict.comparison import compare

WRONG = re.compile(r"accurac|\d pp\b", re.IGNORECASE)


def scored_by_r2(records, *rules: str) -> list:
    """The same records as if the targets were real; of these rules only, where some are named."""
    return [
        r.model_copy(update={"score": "R²"}) if not rules or r.trial.rule["name"] in rules else r
        for r in records
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One epoch on `linear-quadratic`."""
    folder = tmp_path_factory.mktemp("lq")
    planned = plan(StudyConfig.parse({
        "data": "linear-quadratic", "model": {"name": "lq", "depth": 2}, "rules": ["bp", "dfa"],
        "seeds": [1], "penalties": [0.0], "epochs": 1, "recipe": {"probe_images": 0},
    }))  # fmt: skip
    for trial in planned.trials:
        run_trial(trial, folder / "trials" / trial.id, data_dir=None, device="cpu")
    return faeval.open_study(folder)


@pytest.fixture(scope="module", params=["trained", "swept", "tuned"])
def study(request):
    if request.param == "trained":
        return request.getfixturevalue("trained")
    records = scored_by_r2(sweep() if request.param == "swept" else tuned())
    return material(records, courses=courses(records), title="real targets")


def printed(study, capsys) -> str:
    show_study(console(), study.title, study.judgement, LEVEL)
    show_conclusions(console(), study.conclusions)
    return " ".join(capsys.readouterr().out.split())


def words(page: str) -> str:
    """What a reader of the page sees, less the scripts."""
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", unescape(page)).split())


def test_the_record_says_what_it_holds(trained):
    assert {r.score for r in trained.records} == {"R²"}
    assert {m.score for m in trained.judgement.methods} == {"R²"}
    for trial in as_json(trained.records, trained.judgement)["trials"]:
        assert trial["score"] == "R²"


def test_the_terminal_says_r2(study, capsys):
    shown = printed(study, capsys)
    assert "method R² " in shown
    assert not WRONG.search(shown)


def test_every_form_of_the_report_says_r2(study, monkeypatch):
    monkeypatch.setattr(html, "_bundle", lambda: "")
    page = words(html.report(study))
    assert "R² alone" in page
    for text in (page, tables_markdown(study), tables_latex(study), appendix(study)):
        assert not WRONG.search(text)
    assert tables(study)["methods"].headings[1] == "R²"
    files = csv_files(study)
    assert {row["score"] for row in csv.DictReader(io.StringIO(files["methods.csv"]))} == {"R²"}
    assert not WRONG.search(files["states.csv"] + files["findings.csv"])


def test_figures_say_r2(study):
    figures = [accuracy_figure(study), ladder_figure(study), rate_figure(study)]
    drawn = [f for f in (*figures, *penalty_figures(study)) if f]
    assert drawn
    for f in drawn:
        seen = [f.title, f.caption, f.alt, *f.headings, json.dumps(f.spec, ensure_ascii=False)]
        assert not WRONG.search(" ".join(seen))
        assert "R²" in f.title or "accuracy" not in f.id


def test_a_gain_is_a_difference_of_r2():
    rows = {row[0]: row for row in tables(material(scored_by_r2(sweep())))["methods"].rows}
    assert rows["dfa"][1:6] == ("0.615", "0.551 to 0.679", "0.515", "+0.100", "+0.100 to +0.100")
    depth = [f for f in material(scored_by_r2(sweep())).judgement.findings_on("dfa")
             if f.check == "depth utility"]  # fmt: skip
    assert "+0.100 over frozen blocks" in depth[0].evidence
    assert "limit +0.020" in depth[0].evidence


def test_a_study_with_both_names_both():
    both = material(scored_by_r2(sweep(), "bp"))
    methods = tables(both)["methods"]
    assert methods.headings[1] == "accuracy or R²"
    gains = {row[0]: row[4] for row in methods.rows}
    assert (gains["bp"], gains["dfa"]) == ("+0.100", "+10.0 pp")


def test_no_accuracy_is_compared_with_r2():
    first, second = material(sweep()).judgement, material(scored_by_r2(sweep())).judgement
    told = {d.quantity for d in compare(first, second, LEVEL).differences}
    assert {word.split()[0] for word in told} == {"cosine"}
    told = {d.quantity for d in compare(second, second, LEVEL).differences}
    assert {"R²", "gain in R²"} < told


def test_worse_than_a_constant_is_accepted_by_nobody(monkeypatch):
    monkeypatch.setattr(html, "_bundle", lambda: "")
    lost = [r.model_copy(update={"accuracy": -0.2}) for r in scored_by_r2(sweep())]
    assert "R² alone: not accepted. -0.200" in words(html.report(material(lost)))
