"""Bad input: exit code 2, one line on stderr, nothing on stdout, nothing written."""

import hashlib
import json
import struct
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import SMALL, Call, Result, process


def told(result: Result, *words: str) -> None:
    """One line that holds these words, and no more."""
    assert result.code == 2, result.err
    assert result.out == ""
    assert result.err.startswith("faeval: ")
    assert result.err.count("\n") == 1, result.err
    assert result.err.endswith("\n")
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err, result.err


def files(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> None:
    """Default folders and caches of each test's own, and no training in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAEVAL_CACHE", str(tmp_path / "cache"))

    def never(*args, **options):
        raise AssertionError("this input was trained on")

    # By import: as an attribute of `faeval.cli`, `audit` may be the command.
    monkeypatch.setattr(import_module("faeval.cli.auditing"), "execute", never)


# --- flags -----------------------------------------------------------------------------

EMPTY = ("expected values separated by commas for --", "remove the empty places")
FLAGS = [
    (["--rules", "dfo"], ["'dfo'", "did you mean 'dfa'?"]),
    (["--rules", "bp,,dfa"], [*EMPTY, "--rules", "'bp,,dfa'"]),
    (["--rules", ""], [*EMPTY, "--rules", "''"]),
    (["--rules", ","], [*EMPTY, "--rules", "','"]),
    (["--rules", "bp, ,dfa"], [*EMPTY, "--rules", "'bp, ,dfa'"]),
    (["--penalties", "0,,1"], [*EMPTY, "--penalties", "'0,,1'"]),
    (["--data", "digit"], ["'digit'", "did you mean 'digits'?"]),
    (["--recipe", "publishd"], ["'publishd'", "did you mean 'published'?"]),
    (["--sedes", "1"], ["--sedes", "--seeds"]),
    (["--penalties", "0,-0.1"], ["penalties", "-0.1"]),
    (["--penalties=-0.1"], ["penalties", "-0.1"]),
    (["--penalties", "nan"], ["penalties", "nan"]),
    (["--penalties", "inf"], ["penalties", "inf"]),
    (["--penalties", "1e-2;1e-3"], ["--penalties", "numbers separated by commas"]),
    (["--epochs", "-3"], ["epochs", "-3"]),
    (["--epochs", "two"], ["epochs", "two"]),
    (["--epochs", "1.5"], ["a whole number for --epochs", "'1.5'"]),
    (["--seeds", "one"], ["--seeds", "'one'"]),
    (["--seeds", "1,"], [*EMPTY, "--seeds", "'1,'"]),
    (["--seeds", "1.5"], ["--seeds", "'1.5'"]),
    (["--seeds", "1,1"], ["1 twice"]),
    (["--rules", "bp,bp"], ["each rule once", "'bp' twice"]),
    (["--rules", "dfa,bp, dfa"], ["each rule once", "'dfa' twice"]),
    (["--penalties", "0.01,1e-2"], ["0.01 twice"]),
    (["--workers", "1.5"], ["a whole number for --workers", "'1.5'"]),
    (["--workers", "many"], ["a whole number for --workers", "'many'"]),
    (["--workers", "0"], ["workers", "0"]),
    (["--workers", "-1"], ["workers", "-1"]),
    (["--device", "tpu"], ["device", "tpu", "cpu"]),
    (["--data", "cifar10", "--data-dir", "nowhere"], ["nowhere'", "--data-dir"]),
    (["--data-dir"], ["--data-dir"]),
    (["--fail-on", "trust"], ["'trust'", "caution, refuse"]),
    (["one.yaml", "two.yaml"], ["two.yaml"]),
    (["missing.yaml"], ["missing.yaml", "No such file"]),
    (["."], ["."]),
]


@pytest.mark.parametrize(("flags", "words"), FLAGS, ids=[" ".join(f) for f, _ in FLAGS])
def test_a_bad_flag(call: Call, tmp_path, flags, words):
    given = [] if "--data" in flags else ["--data", "digits"]
    told(call("audit", *flags, *given, "--out", tmp_path / "out"), *words)
    assert not (tmp_path / "out").exists()
    assert files(tmp_path) == {}


def test_without_out_nothing_is_written_either(call: Call, tmp_path):
    told(call("audit", "--rules", "dfo"), "'dfo'")
    assert list(tmp_path.iterdir()) == []


def test_cuda_where_there_is_none(call: Call, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    told(call("audit", "--data", "digits", "--device", "cuda"), "CUDA", "--device cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["list", "rule"], ["'rule'", "did you mean 'rules'?"]),
        (["list", "everything"], ["'everything'", "data, models, recipes, rules"]),
        (["adit"], ["adit", "audit"]),
        (["measure"], ["TRIAL"]),
        (["measure", "nowhere"], ["trial.json", "nowhere"]),
        (["measure", "nowhere", "--device", "tpu"], ["'tpu'"]),
        (["--sedes"], ["--sedes"]),
    ],
)
def test_other_commands(call: Call, args, words):
    told(call(*args), *words)


# --- study files -----------------------------------------------------------------------

STUDIES = {
    "a list": ("- seeds\n- [1]\n", ["mapping", "list"]),
    "a word": ("seeds\n", ["mapping", "str"]),
    "broken": ("seeds: [1, 2\nrules: {\n", ["YAML", "study.yaml"]),
    "tabs": ("model:\n\tname: resmlp\n", ["YAML", "study.yaml"]),
    "bytes": (b"\xff\xfe\x00seeds", ["study.yaml"]),
    "two documents": ("seeds: [1]\n---\nseeds: [2]\n", ["study.yaml"]),
    "tag": ("seeds: !!python/object/apply:os.getcwd []\n", ["study.yaml"]),
    "unknown key": ("sedes: [1]\n", ["'sedes'", "did you mean 'seeds'?"]),
    "dashed key": ("data-dir: x\n", ["'data-dir'", "did you mean 'data_dir'?"]),
    "key that is no word": ("1: 2\n", ["'1'"]),
    "key that is null": ("~: 2\n", ["None"]),
    "recipe key": ("recipe: {epoch: 3}\n", ["'epoch'", "did you mean 'epochs'?"]),
    "recipe value": ("recipe: {learning_rate: -1}\n", ["learning_rate", "-1"]),
    "recipe word": ("recipe: {batch_size: many}\n", ["batch_size", "many"]),
    "recipe key that is no word": ("recipe: {3: 3}\n", ["3"]),
    "recipe list": ("recipe: []\n", ["recipe"]),
    "model": ("model: resmpl\n", ["'resmpl'", "did you mean 'resmlp'?"]),
    "model key": ("model: {name: resmlp, dpth: 3}\n", ["'dpth'", "did you mean 'depth'?"]),
    "model value": ("model: {name: resmlp, width: 0}\n", ["width", "0"]),
    "model number": ("model: 3\n", ["model"]),
    "rule key": ("rules: [{name: dfa, scal: 1}]\n", ["'scal'", "did you mean 'scale'?"]),
    "rule value": ("rules: [{name: dfa, scale: big}]\n", ["scale", "big"]),
    "rule twice": ("rules: [dfa, {name: dfa, scale: 1}]\n", ["each rule once", "'dfa' twice"]),
    "rules word": ("rules: dfo\n", ["'dfo'", "did you mean 'dfa'?"]),
    "seeds word": ("seeds: one\n", ["seeds", "one"]),
    "seeds none": ("seeds: []\n", ["seeds"]),
    "threshold": ("thresholds: {grwth: 3}\n", ["'grwth'", "did you mean 'growth'?"]),
    "thresholds list": ("thresholds: [3]\n", ["thresholds"]),
    "threshold value": ("thresholds: {level: 95}\n", ["level", "95"]),
    "workers": ("workers: 0\n", ["workers", "0"]),
    "workers half": ("workers: 1.5\n", ["workers", "1.5"]),
    "epochs half": ("epochs: 1.5\n", ["epochs", "1.5"]),
    "workers word": ("workers: all\n", ["workers", "all"]),
    "device": ("device: tpu\n", ["device", "tpu"]),
    "device number": ("device: 3\n", ["device", "3"]),
    "data number": ("data: 3\n", ["data", "3"]),
    "out number": ("out: 3\n", ["out", "3"]),
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_bad_study_file(call: Call, tmp_path, name):
    content, words = STUDIES[name]
    study = tmp_path / "study.yaml"
    study.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = files(tmp_path)
    # No out for the study whose own is bad.
    out = [] if name.startswith("out") else ["--out", tmp_path / "out"]
    told(call("audit", study, *out), *words)
    assert files(tmp_path) == before
    assert not (tmp_path / "out").exists()


# --- data ------------------------------------------------------------------------------


def cifar(folder: Path, image: str = "img") -> Path:
    """Two parquet files that look right until one reads the images."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({image: pa.array([{"bytes": b"x", "path": None}], kind), "label": [0]})
    folder.mkdir()
    for split in ("train", "test"):
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    return folder


def audit_cifar(call: Call, tmp_path: Path) -> Result:
    result = call(
        "audit", "--data", "cifar10", "--data-dir", tmp_path / "files", "--out", tmp_path / "out"
    )
    assert not (tmp_path / "out").exists()
    return result


def test_data_without_their_folder(call: Call, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    told(call("audit", "--data", "cifar10", "--out", tmp_path / "out"), "--data-dir")
    assert not (tmp_path / "out").exists()


def test_an_empty_folder(call: Call, tmp_path):
    (tmp_path / "files").mkdir()
    told(audit_cifar(call, tmp_path), "train", "parquet")


def test_a_split_that_is_missing(call: Call, tmp_path):
    (cifar(tmp_path / "files") / "test-00000-of-00001.parquet").unlink()
    told(audit_cifar(call, tmp_path), "test split", "parquet")


def test_a_truncated_file(call: Call, tmp_path):
    file = cifar(tmp_path / "files") / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    told(audit_cifar(call, tmp_path), file.name)


def test_a_column_of_another_name(call: Call, tmp_path):
    cifar(tmp_path / "files", image="picture")
    told(audit_cifar(call, tmp_path), "picture", "img")


def test_an_image_that_is_none(call: Call, tmp_path):
    cifar(tmp_path / "files")
    told(audit_cifar(call, tmp_path), "row 0", "train-00000-of-00001.parquet")


# --- folders ---------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["file/below", "/proc/faeval", "/dev/null/x", "file"])
def test_an_out_folder_that_cannot_be(call: Call, tmp_path, small, where):
    (tmp_path / "file").write_text("in the way")
    before = files(tmp_path)
    told(call("audit", small, "--out", where), "--out", where)
    assert files(tmp_path) == before


def test_the_folder_of_another_study(call: Call, finished):
    out, run = finished
    before = files(out)
    told(call("audit", run["study"], "--epochs", "3", "--out", out), "epochs", "--out", str(out))
    told(call("audit", run["study"], "--seeds", "2", "--out", out), "seed 1")
    told(call("audit", run["study"], "--data", "digit-sums", "--out", out), "data digits")
    told(
        call("audit", run["study"], "--rules", "bp", "--seeds", "1,2", "--out", out), "rule", "dfa"
    )
    told(call("audit", run["study"], "--penalties", "0,0.5", "--out", out), "penalty 0.01")
    assert files(out) == before


@pytest.mark.parametrize("content", ["", "[]", '{"data_fingerprint": 3, "trials": []}', "\x00"])
def test_a_folder_whose_plan_is_damaged(call: Call, tmp_path, small, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "plan.json").write_text(content)
    told(call("audit", small, "--out", tmp_path / "out"), "out")
    assert (tmp_path / "out" / "plan.json").read_text() == content


# --- checkpoints -----------------------------------------------------------------------


def edit(folder: Path, change) -> None:
    """Apply `change` to the tensors of a checkpoint."""
    from faeval.records.store import read_tensors, write_tensors

    path = folder / "checkpoint.safetensors"
    tensors, meta = read_tensors(path)
    change(tensors)
    write_tensors(path, tensors, meta)


def edit_trial(folder: Path, **changes) -> None:
    path = folder / "trial.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(call: Call, folder: Path, *words: str) -> None:
    before = files(folder)
    told(call("measure", folder), *words)
    told(call("measure", folder, "--json"), *words)
    assert files(folder) == before


def test_a_checkpoint_of_another_architecture_names_its_leaf(call: Call, trial):
    model = json.loads((trial / "trial.json").read_text())["model"]
    edit_trial(trial, model=model | {"width": 9})
    refused(call, trial, "'model.stem.1.weight'", "(9, 64)", "(8, 64)")


def test_a_checkpoint_of_another_depth_names_its_leaf(call: Call, trial):
    model = json.loads((trial / "trial.json").read_text())["model"]
    edit_trial(trial, model=model | {"depth": 3}, trainable_blocks=3)
    refused(call, trial, "'model.blocks.2.", "none")


def test_a_checkpoint_with_a_leaf_too_many(call: Call, trial):
    model = json.loads((trial / "trial.json").read_text())["model"]
    edit_trial(trial, model=model | {"depth": 1}, trainable_blocks=1)
    refused(call, trial, "surplus leaf")


def test_a_checkpoint_without_feedback_is_refused(call: Call, trial):
    def forget(tensors: dict) -> None:
        for name in [name for name in tensors if name.startswith("feedback.")]:
            del tensors[name]

    edit(trial, forget)
    refused(call, trial, "'feedback.B0'", "none")


def test_a_checkpoint_without_one_matrix_of_feedback_is_refused(call: Call, trial):
    edit(trial, lambda tensors: tensors.pop("feedback.B2"))
    refused(call, trial, "'feedback.B2'", "none")


def test_the_feedback_of_another_rule_is_refused(call: Call, trial):
    edit_trial(trial, rule={"name": "bp"})
    refused(call, trial, "feedback.B0")


def test_no_checkpoint(call: Call, trial):
    (trial / "checkpoint.safetensors").unlink()
    refused(call, trial, "checkpoint.safetensors", "no such file")


DAMAGE = {
    "empty": lambda b: b"",
    "text": lambda b: b"hello\n" * 99,
    "short": lambda b: b[:-1],
    "half": lambda b: b[: len(b) // 2],
    "header only": lambda b: b[: 8 + struct.unpack("<Q", b[:8])[0]],
    "length": lambda b: struct.pack("<Q", 2**60) + b[8:],
    "header": lambda b: b[:40] + b"\xff" * 20 + b[60:],
    "zeros": lambda b: bytes(len(b)),
    "no note": lambda b: b.replace(b'"faeval"', b'"foevol"', 1),
    "other note": lambda b: b.replace(b'\\"epoch\\"', b'\\"epokh\\"', 1),
    "longer": lambda b: b + b"\0",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_corrupted_checkpoint(call: Call, trial, damage):
    path = trial / "checkpoint.safetensors"
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    assert path.read_bytes() != whole
    refused(call, trial, "checkpoint")


@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_one_flipped_byte_of_the_tensors(call: Call, trial, where):
    path = trial / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    start = 8 + struct.unpack("<Q", content[:8])[0]
    content[start + int(where * (len(content) - start - 1))] ^= 1
    path.write_bytes(content)
    refused(call, trial, "checkpoint.safetensors, got a corrupted file")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_trial_that_diverged_in_its_last_step(call: Call, trial, value):
    edit(trial, lambda tensors: tensors["model.head.1.bias"].fill_(value))
    refused(call, trial, "a trial with finite numbers", "diverged in epoch 2 at the loss")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"data": 3}', "\x00", '{"seed": 1e999}']
)
def test_a_damaged_trial(call: Call, trial, content):
    (trial / "trial.json").write_text(content)
    refused(call, trial, "trial")


def test_a_trial_of_unknown_things(call: Call, trial):
    edit_trial(trial, rule={"name": "dfo"})
    refused(call, trial, "did you mean 'dfa'?")


def test_measure_of_a_file_instead_of_a_folder(call: Call, trial):
    told(call("measure", trial / "record.json"), "record.json")


def test_measure_of_a_study_instead_of_a_trial(call: Call, finished):
    told(call("measure", finished[0]), "trial.json")


@pytest.mark.slow
def test_a_study_that_meets_a_corrupted_checkpoint_tells_it_and_goes_on(tmp_path, finished):
    """Not bad input to the command as a whole: the others are judged, the code is 2."""
    import shutil

    out, _ = finished
    shutil.copytree(out, tmp_path / "copy")
    (broken,) = (tmp_path / "copy" / "trials").glob("bp-0.01-*")
    (broken / "record.json").unlink()
    (broken / "checkpoint.safetensors").write_bytes(b"nothing")
    study = tmp_path / "study.yaml"
    study.write_text(SMALL)
    done = process("audit", study, "--out", tmp_path / "copy")
    assert done.code == 2
    last = done.err.splitlines()[-1]
    assert last.startswith(f"faeval: trial {broken.name} failed: ")
    assert "checkpoint.safetensors" in last
    assert "dfa λ=0.01: " in done.out
    assert "bp λ=0.01" not in done.out
    assert "Traceback" not in done.err


# --- as a process ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["audit", "--rules", "dfo"], ["did you mean 'dfa'?"]),
        (["audit", "--sedes", "1"], ["--seeds"]),
        (["audit", "--data", "digits", "--out", "/dev/null/x"], ["/dev/null/x"]),
        (["measure", "nowhere"], ["nowhere"]),
    ],
)
def test_a_process_says_it_in_one_line_too(tmp_path, args, words):
    told(process(*args, cwd=tmp_path), *words)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_seen_enough_gets_no_traceback():
    """As in `faeval list | head -1`."""
    code = "from faeval.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "list", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
