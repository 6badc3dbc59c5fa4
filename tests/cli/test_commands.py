"""The commands at work: what they print and where, and what they leave alone."""

import json
import re
import time
from importlib import import_module
from pathlib import Path

import pytest
from command import SMALL, Call, process


def stamps(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in folder.rglob("*")
        if p.is_file() and not p.name.startswith(".lock")
    }


# --- help ------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["audit", "--help"], ["--version"], []])
def test_help_is_instant(args):
    """No torch (1.5 s) and no scipy (1 s): the best of three, for a busy machine."""
    import subprocess
    import sys

    code = (
        "import sys\nfrom faeval.cli import main\ntry:\n    main()\nexcept SystemExit as e:\n"
        "    print(e.code, {'torch', 'scipy', 'numpy'} & set(sys.modules), file=sys.stderr)"
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *args], capture_output=True, text=True, check=True
        )
        times.append(time.perf_counter() - start)
        assert done.stderr.split() == ["0", "set()"]
        assert done.stdout
        if times[-1] < 1:
            break
    assert min(times) < 1


def test_help_tells_every_flag(call: Call):
    text = call("audit", "--help").out
    for flag in (
        "--data", "--data-dir", "--rules", "--penalties", "--seeds", "--epochs", "--recipe",
        "--workers", "--device", "--out", "--json",
    ):  # fmt: skip
        assert flag in text


def test_help_of_defaults_is_true(call: Call):
    from faeval.study.plan import StudyConfig

    text = " ".join(re.sub("[│╭╰─╮╯]", " ", call("audit", "--help").out).split())
    defaults = StudyConfig()
    assert f"{defaults.data} (default)" in text
    for values in (defaults.rules, defaults.penalties, defaults.seeds):
        shown = ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
        assert f"Default: {shown}" in text


# --- list ------------------------------------------------------------------------------


def test_list_shows_every_name(call: Call):
    from faeval.data import DATA
    from faeval.models import MODELS
    from faeval.rules import RULES
    from faeval.train.recipe import RECIPES

    kinds = {"rules": RULES, "models": MODELS, "data": DATA, "recipes": RECIPES}
    everything, as_json = call("list"), call("list", "--json")
    assert (everything.code, everything.err, as_json.code, as_json.err) == (0, "", 0, "")
    assert {k: list(v) for k, v in json.loads(as_json.out).items()} == {
        k: list(v) for k, v in kinds.items()
    }
    for kind, names in kinds.items():
        one = call("list", kind)
        assert one.code == 0
        for text in (everything.out, one.out):
            lines = text.splitlines()
            assert max(map(len, lines)) <= 100
            assert "…" not in text
            starts = {line.split()[0] for line in lines if line.strip()}
            assert set(names) <= starts
        assert list(json.loads(call("list", kind, "--json").out)) == [kind]


# --- audit -----------------------------------------------------------------------------


def test_json_is_one_object_and_progress_is_elsewhere(finished):
    out, run = finished
    assert run["out"].count("\n") == 1
    content = json.loads(run["out"])
    assert set(content) >= {"trials", "findings", "verdicts"}
    assert len(content["trials"]) == 4
    ids = {t["id"] for t in content["trials"]}
    assert ids == {p.name for p in (out / "trials").iterdir()}
    told = run["err"].splitlines()
    assert len(told) == 4
    for line, count in zip(told, range(1, 5), strict=True):
        assert re.fullmatch(rf"{count}/4 (\S+) finished", line)
        assert line.split()[1] in ids


def test_json_is_what_the_records_say(finished):
    out, run = finished
    for trial in json.loads(run["out"])["trials"]:
        record = json.loads((out / "trials" / trial["id"] / "record.json").read_text())
        assert (trial["accuracy"], trial["status"]) == (record["accuracy"], record["status"])
        assert trial["layers"] == record["layers"]
        assert [layer["state"] for layer in trial["layers"]] == [0, 1, 2]


def test_the_same_command_again_trains_nothing(call: Call, finished, monkeypatch):
    out, run = finished
    before = stamps(out)

    def never(*args, **options):
        raise AssertionError("a worker was started")

    monkeypatch.setattr("joblib.externals.loky.ProcessPoolExecutor", never)
    again = call("audit", run["study"], "--out", out, "--json")
    assert (again.code, json.loads(again.out)) == (0, json.loads(run["out"]))
    assert again.err == "4 of 4 trials already finished\n"
    tables = call("audit", run["study"], "--out", out)
    assert tables.code == 0
    assert "\x1b" not in tables.out
    assert max(map(len, tables.out.splitlines())) <= 100
    for name in ("bp λ=0.01, 1 seed", "dfa λ=0.01, 1 seed", f"Records and checkpoints: {out}"):
        assert name in tables.out
    assert stamps(out) == before


def test_thresholds_judge_again_without_training(call: Call, finished, tmp_path):
    """They are no part of the plan: the same folder, another verdict."""
    out, run = finished
    study = tmp_path / "strict.yaml"
    study.write_text(SMALL + "thresholds: {depth_gain: 1.0}\n")
    strict = json.loads(call("audit", study, "--out", out, "--json").out)
    assert strict["trials"] == json.loads(run["out"])["trials"]
    assert {v["verdict"] for v in strict["verdicts"]} == {"refuse"}


@pytest.mark.parametrize(("fail_on", "code"), [(None, 0), ("caution", 4), ("refuse", 4)])
def test_a_bad_verdict_is_an_exit_code_where_it_is_asked_for(
    call: Call, finished, tmp_path, fail_on, code
):
    """Nobody gains a hundred points over frozen blocks: everything is refused."""
    out, _ = finished
    study = tmp_path / "study.yaml"
    study.write_text(SMALL + "thresholds: {depth_gain: 1.0}\n")
    flags = [] if fail_on is None else ["--fail-on", fail_on]
    result = call("audit", study, "--out", out, "--json", *flags)
    assert {v["verdict"] for v in json.loads(result.out)["verdicts"]} == {"refuse"}
    assert result.code == code


class AskedError(Exception):
    """Raised in place of training, with what would be trained."""


@pytest.fixture
def asked(call: Call, monkeypatch):
    """The trials and options that a command would train with."""

    def stop(trials, out, **options):
        raise AskedError(list(trials), out, options)

    monkeypatch.setattr(import_module("faeval.cli.auditing"), "execute", stop)

    def ask(*args):
        with pytest.raises(AskedError) as caught:
            call("audit", *args)
        return caught.value.args

    return ask


def test_flags_win_over_the_file_key_by_key(asked, tmp_path, small):
    trials, out, options = asked(small, "--out", tmp_path / "a")
    assert out == tmp_path / "a"
    assert options["workers"] == 1
    assert {t.recipe.epochs for t in trials} == {2}
    trials, _, options = asked(
        small, "--out", tmp_path / "b", "--epochs", "7", "--rules", "dfa", "--workers", "3",
        "--seeds", "5,6", "--penalties", "0,0.5", "--device", "cpu",
    )  # fmt: skip
    assert (options["workers"], options["device"]) == (3, "cpu")
    assert {t.recipe.epochs for t in trials} == {7}
    assert {t.rule["name"] for t in trials} == {"dfa"}
    assert [t.seed for t in trials[:2]] == [5, 6]
    assert {t.penalty for t in trials} == {0.0, 0.5}
    # What no flag names is still the file's.
    assert {t.data for t in trials} == {"digits"}
    assert {(t.model["width"], t.model["depth"]) for t in trials} == {(8, 2)}


def test_a_file_may_hold_every_key_of_the_command(asked, tmp_path):
    study = tmp_path / "full.yaml"
    study.write_text(
        SMALL + f"recipe: {{name: published, batch_size: 32}}\ndevice: cpu\nout: {tmp_path / 'o'}\n"
        "data_dir: /somewhere\nthresholds: {growth: 10}\n"
    )
    trials, out, options = asked(study)
    assert (out, options["device"]) == (tmp_path / "o", "cpu")
    assert options["data_dir"] == Path("/somewhere")
    assert {t.recipe.batch_size for t in trials} == {32}
    assert {t.recipe.credit_at for t in trials} == {"input"}
    trials, _, _ = asked(study, "--recipe", "default", "--out", tmp_path / "p")
    assert {t.recipe.batch_size for t in trials} == {128}  # one key, replaced whole


def test_the_default_folder_is_that_of_the_plan(asked, tmp_path, small, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, again, other = (asked(small, *more)[1] for more in ([], [], ["--seeds", "2"]))
    assert first == again != other
    assert re.fullmatch(r"faeval-studies/digits-[0-9a-f]{8}", str(first))
    swapped = asked(small, "--rules", "dfa,bp")[1]
    assert swapped == first  # the same trials


# --- measure ---------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["bp-0.01-*", "dfa-0.01-*", "dfa-0-*"])
def test_measure_reads_what_the_record_says(call: Call, finished, pattern):
    out, _ = finished
    (folder,) = (out / "trials").glob(pattern)
    before = stamps(folder)
    record = json.loads((folder / "record.json").read_text())
    got = call("measure", folder, "--json")
    assert (got.code, got.err, got.out.count("\n")) == (0, "", 1)
    content = json.loads(got.out)
    assert (content["id"], content["accuracy"]) == (folder.name, record["accuracy"])
    assert content["layers"] == record["layers"]
    assert stamps(folder) == before


def test_measure_prints_the_table_of_the_audit(call: Call, finished):
    out, run = finished
    (folder,) = (out / "trials").glob("dfa-0.01-*")
    shown = call("measure", folder).out.splitlines()
    record = json.loads((folder / "record.json").read_text())
    assert any(f"{folder.name}, accuracy {record['accuracy']:.3f}" in line for line in shown)
    audited = call("audit", run["study"], "--out", out).out.splitlines()
    start = audited.index(next(l for l in audited if l.startswith("dfa λ=0.01, 1 seed")))
    for line in audited[start + 1 : start + 6]:
        assert [line.split()] == [l.split() for l in shown if l.split() == line.split()][:1]
    assert max(map(len, shown)) <= 100


def test_measure_needs_no_record(call: Call, trial):
    expected = json.loads((trial / "record.json").read_text())["layers"]
    (trial / "record.json").unlink()
    (trial / "log.jsonl").unlink()
    assert json.loads(call("measure", trial, "--json").out)["layers"] == expected


def test_the_installed_script_is_the_same_command(finished):
    import subprocess
    import sys

    script = Path(sys.executable).with_name("faeval")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == process("--version").out
