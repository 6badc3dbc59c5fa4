"""Dry runs, ready-made studies, comparisons and exports, as a user calls them."""

import json
import re
import shlex
import shutil

import pytest
from command import MODEL, SMALL, Call, process
from test_bad_input import told
from test_commands import stamps

from faeval.study.folder import commands_of


def test_a_dry_run_tells_everything_and_writes_nothing(call: Call, small, tmp_path):
    out = tmp_path / "out"
    shown = call("audit", small, "--out", out, "--dry-run")
    assert (shown.code, shown.err) == (0, "")
    assert "3 trials: 3 to train; 3 cannot be estimated: nothing like them" in shown.out
    assert shown.out.count("frozen") == 1
    assert re.match(r"digits: [\d,]+ \+ [\d,]+ \w+ .*, 10 classes", shown.out)
    assert not out.exists()


def test_a_dry_run_says_for_how_many_it_has_an_estimate(call: Call, small, finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished[0], copy)
    (gone,) = (copy / "trials").glob("dfa-0.01-*")
    (gone / "record.json").unlink()
    (gone / "log.jsonl").write_text((gone / "log.jsonl").read_text().splitlines(True)[0])
    shown = call("audit", small, "--out", copy, "--dry-run", "--rules", "bp,dfa,fa")
    assert re.search(r"about \d+ s for 1 of 2 on 1 worker; 1 cannot be estimated", shown.out)


def test_a_dry_run_of_a_finished_study_has_nothing_left(call: Call, finished):
    out, run = finished
    before = stamps(out)
    content = json.loads(call("audit", run["study"], "--out", out, "--dry-run", "--json").out)
    assert {t["status"] for t in content["trials"]} == {"finished"}
    assert (content["seconds_left"], content["untimed"]) == (0.0, 0)
    assert stamps(out) == before
    more = call("audit", run["study"], "--out", out, "--seeds", "1,2", "--dry-run", "--json")
    content = json.loads(more.out)
    assert [t["status"] for t in content["trials"]].count("to train") == 3
    assert content["seconds_left"] > 0


def test_what_was_typed_is_kept_with_the_study(finished):
    out, run = finished
    typed = [line for _, line in commands_of(out)]
    # Other tests judge this study again, and train nothing.
    words = ["faeval", "audit", str(run["study"]), "--out", str(out), "--json"]
    assert typed == [shlex.join(words)]


def test_ready_made_studies_are_listed(call: Call):
    from faeval.study.ready import READY

    shown = call("study")
    assert shown.code == 0
    assert [line.split()[0] for line in shown.out.splitlines()] == list(READY)
    help_text = call("study", "--help").out
    assert all(name in help_text for name in READY)


@pytest.mark.parametrize(
    ("name", "trials"),
    [
        ("depth-ladder", 2 * 3),  # rules × (0, 1, 2 blocks); the lowest rung is the control
        ("penalty-sweep", 2 * 4 + 1),
        ("early-epochs", 2),
        ("fresh-feedback", 2 * 2 + 1),
        ("learning-rate", 5 * 2),
    ],
)
def test_every_ready_made_study_can_be_planned(call: Call, tmp_path, name, trials):
    keys = tmp_path / "keys.yaml"
    keys.write_text(f"data: digits\nmodel: {MODEL}\nseeds: [1]\n")
    shown = call("study", name, keys, "--out", tmp_path / "out", "--dry-run", "--json")
    assert shown.code == 0, shown.err
    assert len(json.loads(shown.out)["trials"]) == trials
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["study", "depth-lader"], ["'depth-lader'", "did you mean 'depth-ladder'?"]),
        (["audit", "--engine", "dusk"], ["'dusk'", "did you mean 'dask'?"]),
        (["compare", "."], ["two or more study folders"]),
        (["compare", ".", "."], ["a study with finished trials"]),
        (["export", ".", "--to", "t.csv"], ["a study with finished trials"]),
    ],
)
def test_bad_input_is_one_line(call: Call, tmp_path, monkeypatch, args, words):
    monkeypatch.chdir(tmp_path)
    told(call(*args), *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("keys", ["trainable_blocks: 3\n", "groups: {a: {model: {depth: 0}}}\n"])
def test_what_cannot_be_trained_is_told_before_anything_is_written(call: Call, tmp_path, keys):
    study = tmp_path / "study.yaml"
    study.write_text(SMALL + keys)
    told(call("audit", study, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_tuned_study_goes_from_rates_to_its_finding(tmp_path):
    """Both rounds, then the same command again: nothing is left to train."""
    study = tmp_path / "tuned.yaml"
    study.write_text(
        f"data: digits\nmodel: {MODEL}\nrules: [dfa]\npenalties: [0]\nseeds: [1]\nepochs: 1\n"
        "recipe: {probe_images: 0}\ntune: {learning_rates: [1.0e-3, 1.0e-2]}\nworkers: 1\n"
    )
    out = tmp_path / "out"
    first = process("audit", study, "--out", out, "--json")
    assert first.code == 0, first.err
    content = json.loads(first.out)
    (curve,) = content["learning_rates"]
    assert curve["rates"] == [1e-3, 1e-2]
    assert {curve["best"], curve["best_control"]} <= {1e-3, 1e-2}
    (finding,) = content["study_findings"]
    assert finding["check"] == "learning rate"
    final = [t for t in content["trials"] if "validation" not in t["trial"]["recipe"]]
    assert len(final) == 2
    assert len(content["verdicts"]) == 1
    again = process("audit", study, "--out", out, "--json")
    assert again.out == first.out
    assert again.err.splitlines() == [
        "4 of 4 trials already finished", "2 of 2 trials already finished",
    ]  # fmt: skip


def test_a_study_compared_with_itself_differs_in_nothing(call: Call, finished, tmp_path):
    out, _ = finished
    content = json.loads(call("compare", out, out, "--json").out)
    (told_of,) = content
    assert (told_of["warnings"], told_of["turns"]) == ([], [])
    assert {d["difference"]["estimate"] for d in told_of["differences"]} == {0.0}
    shown = call("compare", out, out)
    assert shown.code == 0
    assert "No verdict changed." in shown.out
    assert "not the same" not in shown.out


def test_other_conditions_are_warned_of(call: Call, finished, tmp_path):
    out, _ = finished
    other = tmp_path / "other"
    shutil.copytree(out, other)
    for path in other.glob("trials/*/record.json"):
        record = json.loads(path.read_text())
        record["trial"]["recipe"]["batch_size"] = 64
        record["data_fingerprint"] = "another"
        record["versions"]["torch"] = "1.0"
        path.write_text(json.dumps(record))
    shown = call("compare", out, other)
    for warning in ("recipe batch_size: 128 against 64", "data fingerprint", "version of torch"):
        assert f"not the same {warning}" in shown.out


def test_export_writes_the_table(call: Call, finished, tmp_path):
    out, _ = finished
    to = tmp_path / "trials.csv"
    shown = call("export", out, "--to", to)
    assert (shown.code, shown.out) == (0, f"9 rows: {to}\n")
    assert len(to.read_text().splitlines()) == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "options"),
    [
        ("distributed", "{name: dask, host: 203.0.113.7}"),  # an address for documentation
        ("ray", "{name: ray, nonsense: 3}"),
    ],
)
def test_an_engine_that_cannot_start_is_one_line(package, options, tmp_path):
    """In a process of its own: what the engines leave behind when they fail is theirs."""
    pytest.importorskip(package, reason=f"{package} is not installed")
    study = tmp_path / "study.yaml"
    study.write_text(f"{SMALL}engine: {options}\n")
    done = process("audit", study, "--out", tmp_path / "out")
    assert done.code == 2, done.err
    begun, line = done.err.splitlines()
    assert begun == f"3 trials on 1 worker, folder {tmp_path / 'out'}"
    assert "that starts with these options" in line
    assert not list((tmp_path / "out" / "trials").iterdir())


def test_a_single_value_needs_no_list(call: Call, tmp_path):
    study = tmp_path / "single.yaml"
    study.write_text(
        f"data: digits\nmodel: {MODEL}\nrules: dfa\npenalties: 0.01\nseeds: 42\nlabels: true\n"
    )
    shown = call("audit", study, "--out", tmp_path / "out", "--dry-run", "--json")
    assert shown.code == 0, shown.err
    method, control = (t["trial"] for t in json.loads(shown.out)["trials"])
    assert (method["rule"]["name"], method["penalty"], method["labels"]) == ("dfa", 0.01, "true")
    assert (method["seed"], control["trainable_blocks"]) == (42, 0)


def test_an_interrupted_study_says_how_far_it_came(call: Call, small, tmp_path, monkeypatch):
    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("faeval.cli.auditing.execute", stopped)
    done = call("audit", small, "--out", tmp_path / "out", "--json")
    assert (done.code, done.out) == (130, "")
    assert done.err.splitlines() == [
        f"3 trials on 1 worker, folder {tmp_path / 'out'}",
        "faeval: interrupted: 0 of 3 finished, 0 begun; the same command goes on",
    ]
