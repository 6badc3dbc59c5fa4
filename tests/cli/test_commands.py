"""The commands at work: what they print and where, and what they leave alone."""

import json
import re
import subprocess
import sys
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
def test_help_loads_nothing_that_is_slow(args):
    """No torch (1.5 s) and no scipy (1 s); seconds are not asserted, this machine may be busy."""
    code = (
        "import sys\nfrom faeval.cli import main\ntry:\n    main()\nexcept SystemExit as e:\n"
        "    print(e.code, {'torch', 'scipy', 'numpy'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, check=True
    )
    assert done.stderr.split() == ["0", "set()"]
    assert done.stdout


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


def plain(value) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={default}" for key, default in value.items())
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def assert_blocks(lines: list[str], kind: str, rows: dict[str, dict]) -> None:
    """A title, then for each name its description beside it, and below it a line for all claims
    that are words, one for the limit in which it equals BP, and one for the options."""
    start = [line.rstrip() for line in lines].index(kind)
    end = start + next(i for i, line in enumerate(lines[start:]) if not line.strip())
    words = [" ".join(line.split()) for line in lines[start + 1 : end]]
    column = max(map(len, rows)) + 4
    expected = []
    for name, row in rows.items():
        details = dict(row)
        assert f"  {name}" in {line[:column].rstrip() for line in lines[start + 1 : end]}
        expected.append(f"{name} {details.pop('about')}")
        long = [f"· {key.replace('_', ' ')}: {plain(details.pop(key))}"
                for key in ("equals_bp", "options") if details.get(key)]  # fmt: skip
        details.pop("options", None)
        claims = [
            key.replace("_", " ") if value is True else f"{key.replace('_', ' ')}: {plain(value)}"
            for key, value in details.items()
        ]
        expected += [f"· {', '.join(claims)}"] if claims else []
        expected += long
    assert " ".join(" ".join(words).split()) == " ".join(" ".join(expected).split())
    starts = [text for text in words if text.startswith("·") or text.split()[0] in rows]
    assert len(starts) == len(expected)


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
    for kind in kinds:
        one = call("list", kind)
        assert one.code == 0
        for text in (everything.out, one.out):
            lines = text.splitlines()
            assert max(map(len, lines)) <= 100
            assert "…" not in text
            assert_blocks(lines, kind, json.loads(as_json.out)[kind])
        assert list(json.loads(call("list", kind, "--json").out)) == [kind]


# --- audit -----------------------------------------------------------------------------


def test_json_is_one_object_and_progress_is_elsewhere(finished):
    out, run = finished
    assert run["out"].count("\n") == 1
    content = json.loads(run["out"])
    assert set(content) >= {"trials", "findings", "verdicts"}
    assert len(content["trials"]) == 3
    ids = {t["id"] for t in content["trials"]}
    assert ids == {p.name for p in (out / "trials").iterdir()}
    # On a machine that is busy for a minute, lines of what is running come between.
    first, *rest = run["err"].splitlines()
    assert first == f"3 trials on 1 worker, folder {out}"
    told = [line for line in rest if re.match(r"\d", line)]
    assert len(told) == 3
    for line, count in zip(told, range(1, 4), strict=True):
        found = re.fullmatch(rf"{count}/3 (\S+)( \(frozen blocks\))? finished", line)
        assert found, line
        (trial,) = [t for t in content["trials"] if t["id"] == found[1]]
        assert (trial["trainable_blocks"] == 0) == bool(found[2])
        assert trial["trainable_blocks"] in (0, 2)
    assert {line.split()[1] for line in told} == ids


def test_json_is_what_the_records_say(finished):
    out, run = finished
    for trial in json.loads(run["out"])["trials"]:
        record = json.loads((out / "trials" / trial["id"] / "record.json").read_text())
        assert (trial["accuracy"], trial["status"]) == (record["accuracy"], record["status"])
        assert trial["layers"] == record["layers"]
        assert trial["trial"] == record["trial"]
        assert [layer["state"] for layer in trial["layers"]] == [0, 1, 2]


def test_the_same_command_again_trains_nothing(call: Call, finished, monkeypatch):
    out, run = finished
    before = stamps(out)

    def never(*args, **options):
        raise AssertionError("a worker was started")

    monkeypatch.setattr("joblib.externals.loky.ProcessPoolExecutor", never)
    again = call("audit", run["study"], "--out", out, "--json")
    assert (again.code, json.loads(again.out)) == (0, json.loads(run["out"]))
    assert again.err == "3 of 3 trials already finished\n"
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
    assert {t.rule["name"] for t in trials if t.trainable_blocks} == {"dfa"}
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
    # The same trials in another order.
    assert asked(small, "--rules", "dfa,bp")[1] == first
    for flag, one, other in (
        ("--seeds", "1,2,3", "3,1,2"),
        ("--penalties", "0,0.01,1", "1,0,0.01"),
        ("--rules", "bp,dfa", "dfa,bp"),
    ):
        more = ["--seeds", "1,2"] if flag != "--seeds" else []
        assert asked(small, flag, one, *more)[1] == asked(small, flag, other, *more)[1] != first


# --- measure ---------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["bp-0.01-*", "dfa-0.01-*", "bp-0-*"])
def test_measure_reads_what_the_record_says(call: Call, finished, pattern):
    out, _ = finished
    (folder,) = (out / "trials").glob(pattern)
    before = stamps(folder)
    record = json.loads((folder / "record.json").read_text())
    got = call("measure", folder, "--json")
    assert (got.code, got.err, got.out.count("\n")) == (0, "", 1)
    content = json.loads(got.out)
    assert content["id"] == folder.name
    assert (content["score"], content["accuracy"]) == ("accuracy", record["accuracy"])
    assert (content["epoch"], content["epochs"]) == (2, 2)
    names = {"id", "epoch", "epochs", "score", "accuracy", "layers", "diagnostics"}
    assert set(content) == names
    assert content["layers"] == record["layers"]
    assert content["diagnostics"] == record["diagnostics"]
    assert stamps(folder) == before


def test_measure_prints_the_table_of_the_audit(call: Call, finished):
    out, run = finished
    (folder,) = (out / "trials").glob("dfa-0.01-*")
    shown = call("measure", folder).out.splitlines()
    record = json.loads((folder / "record.json").read_text())
    title = f"{folder.name}, epoch 2 of 2, accuracy {record['accuracy']:.3f}"
    assert [line.rstrip() for line in shown].count(title) == 1
    audited = call("audit", run["study"], "--out", out).out.splitlines()
    start = audited.index(next(l for l in audited if l.startswith("dfa λ=0.01, 1 seed")))
    for line in audited[start + 1 : start + 6]:
        assert [line.split()] == [l.split() for l in shown if l.split() == line.split()][:1]
    assert max(map(len, shown)) <= 100


def test_measure_of_an_interrupted_trial_says_its_epoch(call: Call, finished, tmp_path):
    from faeval.core.trial import Trial
    from faeval.train.trial import run_trial

    out, _ = finished
    (whole,) = (out / "trials").glob("dfa-0.01-*")
    trial = Trial.model_validate_json((whole / "trial.json").read_text())
    folder = tmp_path / trial.id
    stopped = run_trial(trial, folder, data_dir=None, device="cpu", stop=lambda: True)
    assert stopped is None
    before = stamps(folder)
    content = json.loads(call("measure", folder, "--json").out)
    assert (content["id"], content["epoch"], content["epochs"]) == (trial.id, 1, 2)
    assert content["layers"] != json.loads((whole / "record.json").read_text())["layers"]
    shown = [line.rstrip() for line in call("measure", folder).out.splitlines()]
    assert shown.count(f"{trial.id}, epoch 1 of 2, accuracy {content['accuracy']:.3f}") == 1
    assert stamps(folder) == before


def test_measure_needs_no_record(call: Call, trial):
    expected = json.loads((trial / "record.json").read_text())["layers"]
    (trial / "record.json").unlink()
    (trial / "log.jsonl").unlink()
    assert json.loads(call("measure", trial, "--json").out)["layers"] == expected


def test_the_installed_script_is_the_same_command(finished):
    script = Path(sys.executable).with_name("faeval")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == process("--version").out


@pytest.mark.slow
def test_a_rule_that_cannot_be_imported_stands_in_nobodys_way(small, tmp_path):
    """A package as pip would leave it, whose module is gone; processes find it on their path."""
    info = tmp_path / "path" / "theirs-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[faeval.rules]\ntheirs = gone_module:Rule\n")
    code = (
        f"import sys; sys.path.insert(0, {str(info.parent)!r})\n"
        "from faeval.cli import main\nfrom faeval.cli.listing import run_list\n"
        "run_list('rules', as_json=True)\nsys.stdout.flush()\nmain()"
    )
    args = ["audit", str(small), "--dry-run", "--rules", "dfa,theirs"]
    done = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=120
    )
    rules = json.loads(done.stdout)
    why = "ModuleNotFoundError: No module named 'gone_module'"
    assert rules["rules"]["theirs"] == {"about": f"cannot be imported: {why}"}
    assert rules["rules"]["frsf"]["about"].endswith("i.i.d. M ~ U(0, 1/√n), n inputs to a unit")
    assert "granularity" in rules["rules"]["dfa"]
    assert done.returncode == 2
    assert done.stderr.startswith("faeval: expected a rule 'theirs' that can be imported")
    assert done.stderr.count("\n") == 1
