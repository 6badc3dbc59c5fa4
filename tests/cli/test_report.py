"""`faeval report` and `faeval plot` on a finished study, and on folders that are none."""

import csv
import io
import json
import shutil
import subprocess
import sys

import pytest

from faeval.report import html


@pytest.fixture(autouse=True)
def no_bundle(monkeypatch):
    """Vega takes seconds to bundle; the test in the browser has it."""
    monkeypatch.setattr(html, "_bundle", lambda: "")


def test_the_report_of_a_finished_study_agrees_with_its_json(finished, call, tmp_path):
    study, told = finished
    done = call("report", study, "--out", tmp_path / "deep" / "r.html")
    assert done.code == 0, done.err
    names = {"r.html", "tables.md", "appendix.md", "tables.tex", "methods.csv", "states.csv",
             "findings.csv", "references.bib"}  # fmt: skip
    assert {path.name for path in (tmp_path / "deep").iterdir()} == names
    assert done.out.split() == [str(tmp_path / "deep" / line.split("/")[-1])
                                for line in done.out.split()]  # fmt: skip
    judged = json.loads(told["out"])
    methods = csv.DictReader(io.StringIO((tmp_path / "deep" / "methods.csv").read_text()))
    assert [(m["method"], m["verdict"]) for m in methods] == [
        (v["method"], v["verdict"]) for v in judged["verdicts"]
    ]
    findings = csv.DictReader(io.StringIO((tmp_path / "deep" / "findings.csv").read_text()))
    on_methods = [line for line in findings if line["about"] == "method"]
    for line, finding in zip(on_methods, judged["findings"], strict=True):
        assert {k: line[k] for k in ("method", "check", "status", "evidence")} == {
            k: finding[k] for k in ("method", "check", "status", "evidence")
        }
        assert line["value"] == ("" if finding["value"] is None else str(finding["value"]))
    page = (tmp_path / "deep" / "r.html").read_text()
    assert "faeval audit study.yaml" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_formats_are_written_as_asked(finished, call, tmp_path):
    study, _ = finished
    assert call("report", study, "--out", tmp_path / "r.html", "--format", "md,bib").code == 0
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert names == {"tables.md", "appendix.md", "references.bib"}
    bib = (tmp_path / "references.bib").read_text()
    assert all(key in bib for key in ("rumelhart1986", "nokland2016", "2606.21126"))


def test_without_the_ending_of_a_page_out_is_a_folder(finished, call, tmp_path):
    """A bug: the page was a file called `paper`, and its tables lay around it."""
    assert call("report", finished[0], "--out", tmp_path / "paper", "--format", "html,md").code == 0
    assert [path.name for path in tmp_path.iterdir() if "paper" in path.name] == ["paper"]
    names = {path.name for path in (tmp_path / "paper").iterdir()}
    assert names == {"report.html", "tables.md", "appendix.md"}


@pytest.mark.parametrize("command", ["report", "plot"])
def test_a_folder_without_records_is_refused_in_one_line(command, call, tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        done = call(command, folder)
        assert done.code == 2
        assert done.err.count("\n") == 1
        assert str(folder) in done.err
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_record_is_told_wherever_numbers_are(finished, call, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished[0], copy)
    (gone,) = (copy / "trials").glob("dfa-0.01-*")
    shutil.rmtree(gone)
    done = call("report", copy, "--format", "md,tex")
    assert (done.code, done.err.count("\n")) == (0, 1)
    told = f"1 planned trial left no record and is in no average: {gone.name}"
    assert done.err.startswith(f"faeval: warning: {told}; to finish, ")
    for name in ("tables.md", "appendix.md", "tables.tex"):
        assert told in (copy / name).read_text()
    whole = call("report", finished[0], "--out", tmp_path / "r.html", "--format", "md")
    assert (whole.code, whole.err) == (0, "")
    assert "left no record" not in (tmp_path / "tables.md").read_text()


def test_an_unknown_format_is_named(finished, call, tmp_path):
    done = call("report", finished[0], "--out", tmp_path / "r.html", "--format", "docx")
    assert done.code == 2
    assert "docx" in done.err
    assert not (tmp_path / "r.html").exists()


def test_templates_and_charts_load_in_these_commands_only():
    code = (
        "import sys, faeval, faeval.cli, faeval.cli.auditing; "
        "assert not {'vl_convert'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
