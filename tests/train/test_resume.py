"""An interrupted trial goes on to the same bits; a checkpoint that does not fit is refused."""

import json
import re
from pathlib import Path

import pytest
import torch
from toys import (
    CPU,
    equal,
    fresh_state,
    frozen_snapshot,
    run,
    stop_at,
    toy,
    toy_trial,
)

from faeval.core.digest import tensor_digest
from faeval.core.errors import InputError
from faeval.data import Batches
from faeval.records.log import read_log
from faeval.records.schema import TrialRecord
from faeval.records.store import read_tensors, write_json, write_tensors
from faeval.train.loop import train_epoch
from faeval.train.state import restore
from faeval.train.trial import CHECKPOINT, read_trial

VARIANTS = {
    "dfa": toy_trial(),
    "bp": toy_trial("bp", penalty=0.0),
    "frozen": toy_trial(trainable_blocks=0),
    "last-block": toy_trial("bp", trainable_blocks=1),
    "input": toy_trial(credit_at="input", augment=False),
}
every_variant = pytest.mark.parametrize("trial", VARIANTS.values(), ids=VARIANTS.keys())


def without_time(record: TrialRecord | None) -> dict:
    assert record is not None
    content = record.model_dump(mode="json")
    content["seconds"] = 0
    for epoch in content["history"]:
        epoch["seconds"] = 0
    return content


# --- to the same bits ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder and the record of a trial that ran through; each is trained once."""
    finished: dict[str, tuple[Path, TrialRecord]] = {}

    def of(trial) -> tuple[Path, TrialRecord]:
        if trial.id not in finished:
            folder = tmp_path_factory.mktemp("whole")
            finished[trial.id] = folder, run(trial, folder)
        return finished[trial.id]

    return of


EVERY_EPOCH = (1, 1, 1)


@pytest.mark.parametrize(
    ("trial", "after"),
    [
        *(pytest.param(t, EVERY_EPOCH, id=name) for name, t in VARIANTS.items()),
        *(pytest.param(VARIANTS["dfa"], (k,), id=f"dfa-after-{k}") for k in (1, 2, 3)),
    ],
)
def test_an_interrupted_trial_ends_as_an_uninterrupted_one(trial, after, tmp_path, uninterrupted):
    folder, whole = uninterrupted(trial)
    for epoch in after:
        assert run(trial, tmp_path, stop=stop_at(epoch)) is None
        assert not (tmp_path / "record.json").exists()
    assert without_time(run(trial, tmp_path)) == without_time(whole)
    assert (tmp_path / CHECKPOINT).read_bytes() == (folder / CHECKPOINT).read_bytes()
    assert len(read_log(tmp_path / "log.jsonl")) == 4


@every_variant
def test_a_restored_state_is_the_state_that_was_saved(trial, tmp_path):
    """Weights, feedback, moments and generators, at once and after two more epochs."""
    batches = Batches(toy(), toy().train)
    state = fresh_state(trial)
    for _ in range(2):
        train_epoch(state, trial, batches)
    tensors, position = frozen_snapshot(state)
    parts = {name.split(".")[0] for name in tensors}
    assert parts - {"feedback"} == {"model", "generator", "optimizer"}
    assert ("feedback" in parts) == bool(state.feedback)
    assert position == {"epoch": 2, "step": 6}
    write_tensors(tmp_path / "file", tensors, position)

    other = fresh_state(trial.model_copy(update={"seed": 99}))
    restore(other, *read_tensors(tmp_path / "file"))
    again, place = frozen_snapshot(other)
    assert equal(again, tensors)
    assert place == position
    for _ in range(2):
        a, b = (train_epoch(s, trial, batches) for s in (state, other))
        assert a.model_copy(update={"seconds": 0}) == b.model_copy(update={"seconds": 0})
    assert equal(frozen_snapshot(state)[0], frozen_snapshot(other)[0])


def test_restoring_keeps_model_and_optimiser_together():
    """The optimiser must move the tensors of the model it was restored beside, and no copies."""
    trial, batches = toy_trial(), Batches(toy(), toy().train)
    state = fresh_state(trial)
    train_epoch(state, trial, batches)
    other = fresh_state(trial)
    restore(other, *frozen_snapshot(state))
    before = {n: p.detach().clone() for n, p in other.model.named_parameters()}
    train_epoch(other, trial, batches)
    moved = [not torch.equal(p, before[n]) for n, p in other.model.named_parameters()]
    assert all(moved)


def test_a_snapshot_that_was_restored_is_not_written_to():
    trial, batches = toy_trial(), Batches(toy(), toy().train)
    state = fresh_state(trial)
    train_epoch(state, trial, batches)
    saved, position = frozen_snapshot(state)
    copies = {name: t.clone() for name, t in saved.items()}
    other = fresh_state(trial)
    restore(other, saved, position)
    train_epoch(other, trial, batches)
    assert equal(saved, copies)


class KilledError(Exception):
    """Stands for a signal that no code outlives."""


@pytest.mark.parametrize(("checkpoint_at", "killed_after"), [(None, 1), (None, 3), (1, 2), (1, 3)])
def test_a_killed_trial_goes_on_from_its_last_checkpoint(
    tmp_path, killed_after, checkpoint_at, uninterrupted
):
    """Epochs after the checkpoint are trained again, and stand in the log once."""
    trial, folder = toy_trial(), tmp_path / "killed"
    finished, whole = uninterrupted(trial)
    if checkpoint_at:
        assert run(trial, folder, stop=stop_at(checkpoint_at)) is None

    def kill() -> bool:
        if len(read_log(folder / "log.jsonl")) == killed_after:
            raise KilledError
        return False

    with pytest.raises(KilledError):
        run(trial, folder, stop=kill)
    assert without_time(run(trial, folder)) == without_time(whole)
    assert (folder / CHECKPOINT).read_bytes() == (finished / CHECKPOINT).read_bytes()
    lines = (folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]


def test_a_torn_line_of_the_log_is_dropped_and_trained_again(tmp_path, uninterrupted):
    run(toy_trial(), tmp_path, stop=stop_at(2))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"epoch": 3, "loss": 1.2')
    _, whole = uninterrupted(toy_trial())
    assert without_time(run(toy_trial(), tmp_path)) == without_time(whole)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 4


def test_a_finished_trial_leaves_the_same_checkpoint_each_time_and_its_own_files(
    tmp_path, uninterrupted
):
    folder, _ = uninterrupted(toy_trial())
    run(toy_trial(), tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == (folder / CHECKPOINT).read_bytes()
    names = {p.name for p in tmp_path.iterdir()} - {".lock"}
    assert names == {"trial.json", "log.jsonl", "course.jsonl", CHECKPOINT, "record.json"}


# --- refusals ------------------------------------------------------------------------------


def interrupted(folder: Path) -> Path:
    """The checkpoint of a trial that was stopped after two epochs."""
    assert run(toy_trial(), folder, stop=stop_at(2)) is None
    return folder / CHECKPOINT


def refused(trial, folder: Path, match: str, *, data: str | None = None) -> None:
    """Neither training nor reading accepts the checkpoint, and both leave its bytes alone."""
    before = (folder / CHECKPOINT).read_bytes()
    log = (folder / "log.jsonl").read_bytes()
    with pytest.raises(InputError, match=match):
        run(trial, folder, data=data)
    with pytest.raises(InputError, match=match):
        read_trial(folder, data_dir=data and Path(data), device="cpu")
    assert (folder / CHECKPOINT).read_bytes() == before
    assert (folder / "log.jsonl").read_bytes() == log
    assert not (folder / "record.json").exists()
    assert not [p.name for p in folder.iterdir() if p.name.startswith(f".{CHECKPOINT}")]


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, -1])
def test_a_truncated_checkpoint_is_refused(tmp_path, keep):
    file = interrupted(tmp_path)
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content)) if keep == 0.5 else keep])
    refused(toy_trial(), tmp_path, "a faeval checkpoint at .*checkpoint.safetensors")


@pytest.mark.parametrize("content", [b"no tensors at all", b"\xff" * 64, b'{"json": true}' * 9])
def test_something_else_instead_of_a_checkpoint_is_refused(tmp_path, content):
    interrupted(tmp_path).write_bytes(content)
    refused(toy_trial(), tmp_path, "a faeval checkpoint at .*checkpoint.safetensors")


@pytest.mark.parametrize("where", [0.0, 0.3, 0.7, 1.0])
def test_one_flipped_byte_of_the_tensors_is_refused(tmp_path, where):
    file = interrupted(tmp_path)
    content = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[start + int(where * (len(content) - start - 1))] ^= 1
    file.write_bytes(content)
    refused(
        toy_trial(),
        tmp_path,
        r"a faeval checkpoint at .*checkpoint\.safetensors, got a corrupted file",
    )


def rewritten(file: Path, change) -> None:
    tensors, meta = read_tensors(file)
    tensors, meta = dict(tensors), dict(meta)
    change(tensors, meta)
    write_tensors(file, tensors, meta)


def cut(tensors: dict, leaf: str) -> None:
    tensors[leaf] = tensors[leaf][1:]


def cast(tensors: dict, leaf: str) -> None:
    tensors[leaf] = tensors[leaf].double()


W1 = "model.blocks.1.w1.weight"
MOMENT = "optimizer.exp_avg.blocks.0.w2.bias"


@pytest.mark.parametrize(
    ("change", "leaf"),
    [
        (lambda t, m: t.pop("feedback.B1"), "feedback.B1"),
        (lambda t, m: t.pop(W1), W1),
        (lambda t, m: t.pop("generator.order"), "generator.order"),
        (lambda t, m: t.pop(MOMENT), MOMENT),
        (lambda t, m: t.update(surplus=t[W1].clone()), "surplus"),
        (lambda t, m: cut(t, W1), W1),
        (lambda t, m: cast(t, "feedback.B0"), "feedback.B0"),
        (lambda t, m: cut(t, "generator.augment"), "generator.augment"),
    ],
)
def test_a_checkpoint_with_a_wrong_leaf_is_refused_by_its_name(tmp_path, change, leaf):
    file = interrupted(tmp_path)
    rewritten(file, change)
    refused(toy_trial(), tmp_path, leaf.replace(".", r"\."))


@pytest.mark.parametrize("key", ["epoch", "step", "data"])
def test_a_checkpoint_without_its_position_is_refused(tmp_path, key):
    file = interrupted(tmp_path)
    rewritten(file, lambda tensors, meta: meta.pop(key))
    refused(toy_trial(), tmp_path, "checkpoint")


@pytest.mark.parametrize(
    ("other", "leaf"),
    [
        (toy_trial(width=7), r"model\..*of shape \(7"),
        (toy_trial(depth=1), r"surplus leaf .*2"),
        (toy_trial(depth=3), r"blocks\.2.*none"),
        (toy_trial("bp"), r"surplus leaf 'feedback\.B0'"),
        (toy_trial(trainable_blocks=1), r"surplus leaf 'optimizer\."),
    ],
    ids=["wider", "shallower", "deeper", "rule", "frozen"],
)
def test_a_checkpoint_of_another_network_is_refused(tmp_path, other, leaf):
    interrupted(tmp_path)
    write_json(tmp_path / "trial.json", other.model_dump(mode="json"))
    refused(other, tmp_path, leaf)


def test_the_folder_of_another_trial_is_refused(tmp_path):
    """A bug: a checkpoint of fitting shapes went on under the label of another trial."""
    interrupted(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for other in (toy_trial(seed=9), toy_trial(penalty=0.5)):
        with pytest.raises(InputError, match=f"folder of trial {re.escape(other.id)}"):
            run(other, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_lost_log_is_told(tmp_path):
    """A bug: the record of a resumed trial lacked the epochs of a log that was gone."""
    interrupted(tmp_path)
    (tmp_path / "log.jsonl").unlink()
    with pytest.raises(InputError, match="a log of"):
        run(toy_trial(), tmp_path)


def test_a_refused_checkpoint_leaves_the_state_untouched():
    trial = toy_trial()
    donor, state = fresh_state(trial), fresh_state(trial.model_copy(update={"seed": 9}))
    train_epoch(donor, trial, Batches(toy(), toy().train))
    tensors, position = frozen_snapshot(donor)
    before = frozen_snapshot(state)
    for leaf in ("feedback.B2", "generator.order", "model.head.1.bias"):
        with pytest.raises(InputError, match=leaf):
            restore(state, {k: t for k, t in tensors.items() if k != leaf}, position)
        after = frozen_snapshot(state)
        assert equal(before[0], after[0])
        assert before[1] == after[1]


def test_a_generator_state_of_nonsense_is_refused_and_leaves_the_state_untouched(tmp_path):
    file = interrupted(tmp_path)
    rewritten(file, lambda tensors, meta: tensors["generator.order"].zero_())
    refused(toy_trial(), tmp_path, "generator 'order'")


def test_other_data_are_refused(tmp_path):
    interrupted(tmp_path)
    refused(toy_trial(), tmp_path, r"-toy of .*got -*other", data="other")


def test_without_a_checkpoint_there_is_nothing_to_read(tmp_path):
    interrupted(tmp_path).unlink()
    with pytest.raises(InputError, match="no such file"):
        read_trial(tmp_path, data_dir=None, device="cpu")
    (tmp_path / "trial.json").unlink()
    with pytest.raises(InputError, match=r"trial\.json"):
        read_trial(tmp_path, data_dir=None, device="cpu")


def test_a_checkpoint_on_the_cpu_is_what_it_says(tmp_path):
    """Readable without faeval: plain safetensors, one metadata key that holds JSON."""
    from safetensors import safe_open

    with safe_open(interrupted(tmp_path), framework="pt") as file:
        (note,) = file.metadata().values()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        assert json.loads(note) == {
            "data": toy().fingerprint, "digest": tensor_digest(tensors), "epoch": 2, "step": 6,
        }  # fmt: skip
        assert tensors[W1].device == CPU
