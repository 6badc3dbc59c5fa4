"""A trial from its folder to its record: what is the same for all, divergence, the log."""

import json
import math

import pytest
import torch
from toys import (
    NAME,
    equal,
    fresh_state,
    frozen_snapshot,
    hiding,
    registered,
    run,
    stop_at,
    toy,
    toy_trial,
)

from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.data import Batches
from faeval.models import MODELS
from faeval.records.log import read_log
from faeval.records.schema import TrialRecord
from faeval.train.loop import DivergedError, accuracy, train_epoch
from faeval.train.step import step
from faeval.train.trial import CHECKPOINT

# --- identical conditions ------------------------------------------------------------------

SIBLINGS = {
    "rule": toy_trial("bp"),
    "penalty": toy_trial(penalty=0.5),
    "frozen": toy_trial(trainable_blocks=0),
    "rate": toy_trial(learning_rate=0.1),
    "input": toy_trial(credit_at="input"),
}


def batches_seen(trial) -> list[torch.Tensor]:
    state, seen = fresh_state(trial), []
    state.model.stem.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    batches = Batches(toy(), toy().train)
    for _ in range(2):
        train_epoch(state, trial, batches)
    return seen


@pytest.mark.parametrize("sibling", SIBLINGS.values(), ids=SIBLINGS.keys())
def test_trials_that_are_compared_start_alike_and_see_the_same_batches(sibling):
    trial = toy_trial()
    assert trial.id != sibling.id
    a, b = fresh_state(trial), fresh_state(sibling)
    assert equal(a.model.state_dict(), b.model.state_dict())
    if a.feedback and b.feedback:
        assert equal(a.feedback, b.feedback)
    ours, theirs = batches_seen(trial), batches_seen(sibling)
    assert len(ours) == 2 * 3
    assert all(torch.equal(x, z) for x, z in zip(ours, theirs, strict=True))
    assert [len(x) for x in ours] == [8, 8, 5] * 2


def test_the_streams_of_a_seed_are_apart_and_another_seed_changes_all():
    trial = toy_trial()
    a, b = fresh_state(trial), fresh_state(toy_trial(seed=4))
    for name in ("stem.1.weight", "head.1.weight", "blocks.0.w2.weight"):
        assert not torch.equal(a.model.state_dict()[name], b.model.state_dict()[name])
    assert not torch.equal(a.feedback["B0"], b.feedback["B0"])
    assert not torch.equal(*(s.generators["order"].get_state() for s in (a, b)))
    model = a.model.state_dict()["stem.1.weight"]
    expected = generator(3, "weights")
    bound = 32**-0.5
    drawn = torch.empty_like(model).uniform_(-bound, bound, generator=expected)
    assert torch.equal(model, drawn)  # of the stream "weights" of its seed, and its first numbers
    for name in ("order", "augment"):
        assert torch.equal(a.generators[name].get_state(), generator(3, name).get_state())


def test_augmentation_can_be_left_out_without_changing_the_order():
    plain, augmented = batches_seen(toy_trial(augment=False)), batches_seen(toy_trial())
    assert not any(torch.equal(a, b) for a, b in zip(plain, augmented, strict=True))
    batches = Batches(toy(), toy().train)
    order = generator(3, "order")
    expected = [x for _ in range(2) for x, _ in batches.epoch(8, order)]
    assert all(torch.equal(a, b) for a, b in zip(plain, expected, strict=True))


# --- the schedule and the epoch ------------------------------------------------------------


def test_the_learning_rate_falls_along_half_a_cosine():
    trial = toy_trial(learning_rate=0.2)
    for steps in (1, 7, 12):
        for t in range(steps):
            expected = 0.2 * (1 + math.cos(math.pi * t / steps)) / 2
            assert trial.learning_rate(t, steps) == pytest.approx(expected, rel=1e-12)
    assert trial.learning_rate(0, 12) == 0.2
    assert trial.learning_rate(6, 12) == pytest.approx(0.1)
    assert trial.learning_rate(12, 12) == pytest.approx(0, abs=1e-15)


def test_every_step_gets_its_own_learning_rate():
    """Across the epochs of a trial: t counts all steps, T is their number with the short batch."""
    trial = toy_trial(learning_rate=0.2)
    state, used = fresh_state(trial), []
    update = state.optimizer.step
    state.optimizer.step = lambda rate: (used.append(rate), update(rate))[1]
    batches = Batches(toy(), toy().train)
    for _ in range(4):
        train_epoch(state, trial, batches)
    expected = [0.2 * (1 + math.cos(math.pi * t / 12)) / 2 for t in range(12)]
    assert used == pytest.approx(expected, rel=1e-12)
    assert (state.epoch, state.step) == (4, 12)


def test_an_epoch_reports_the_batches_as_they_were_met():
    """A literal loop over the same batches, with the weights of every step."""
    trial = toy_trial(learning_rate=0.05)
    state, twin = fresh_state(trial), fresh_state(trial)
    batches = Batches(toy(), toy().train)
    losses, hits, norms = [], [], []
    order, augment = twin.generators["order"], twin.generators["augment"]
    for t, (x, y) in enumerate(batches.epoch(8, order, augment)):
        trace = twin.model.run(x, y, local=True)
        losses += trace.loss.tolist()
        hits += (trace.logits.argmax(1) == y).tolist()
        norms = [h.detach().norm(dim=1).mean().item() for h in trace.states]
        step(
            twin.model, twin.rule, twin.feedback, twin.optimizer, x, y,
            learning_rate=trial.learning_rate(t, 12), penalty=0.01, credit_at="output",
        )  # fmt: skip
    epoch = train_epoch(state, trial, batches)
    assert equal(frozen_snapshot(state)[0], frozen_snapshot(twin)[0])
    assert epoch.epoch == 1
    assert epoch.loss == pytest.approx(sum(losses) / 21, rel=1e-5)
    assert epoch.accuracy == sum(hits) / 21
    assert epoch.state_norms == pytest.approx(norms, rel=1e-5)
    assert epoch.seconds > 0


def test_accuracy_counts_every_test_image_once():
    state = fresh_state(toy_trial())
    test = Batches(toy(), toy().test)
    x, y = test.take(torch.arange(11))
    expected = (state.model(x).argmax(1) == y).sum().item() / 11
    for size in (1, 4, 11, 1000):
        assert accuracy(state, test, size) == expected


# --- the record ----------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["bp", "dfa"])
def test_the_record_of_a_trial(rule, tmp_path):
    trial = toy_trial(rule)
    record = run(trial, tmp_path)
    assert record == TrialRecord.load(tmp_path / "record.json")
    assert record.trial == trial
    assert record.status == "completed"
    assert record.divergence is None
    assert 0 <= record.accuracy <= 1
    assert [r.state for r in record.layers] == [0, 1, 2]
    assert all(r.samples == 6 for r in record.layers)
    assert [e.epoch for e in record.history] == [1, 2, 3, 4]
    assert all(len(e.state_norms) == 3 for e in record.history)
    assert record.data_fingerprint == toy().fingerprint
    assert {"python", "faeval", "torch", "numpy"} <= set(record.versions)
    assert record.seconds == pytest.approx(sum(e.seconds for e in record.history))
    assert record.history == read_log(tmp_path / "log.jsonl")
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 4
    assert json.loads((tmp_path / "trial.json").read_text()) == trial.model_dump(mode="json")


def test_a_finished_trial_is_not_trained_again(tmp_path):
    first = run(toy_trial(), tmp_path)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir() if p.suffix}

    def never() -> bool:
        raise AssertionError("trained again")

    # Not even its data are needed.
    assert run(toy_trial(), tmp_path, stop=never, data="huge") == first
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in before} == before


def test_stopping_leaves_the_trial_in_its_checkpoint(tmp_path):
    asked = []

    def stop() -> bool:
        asked.append(len(read_log(tmp_path / "log.jsonl")))
        return len(asked) == 2

    assert run(toy_trial(), tmp_path, stop=stop) is None
    assert asked == [1, 2]  # after every epoch, which is in the log by then
    assert (tmp_path / CHECKPOINT).exists()
    assert not (tmp_path / "record.json").exists()


def test_a_stop_after_the_last_epoch_is_no_interruption(tmp_path):
    assert run(toy_trial(epochs=1), tmp_path, stop=lambda: True) is not None


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"trainable_blocks": 3}, "trainable_blocks from 0 to 2, got 3"),
        ({"rule": {"name": "dfb"}}, "did you mean 'dfa'"),
        ({"rule": {"name": "dfa", "scael": 1}}, "did you mean 'scale'"),
        ({"model": "resmpl"}, "did you mean 'resmlp'"),
        ({"data": NAME + "s"}, f"did you mean '{NAME}'"),
    ],
)
def test_a_trial_that_cannot_be_built_is_refused(tmp_path, changes, match):
    with pytest.raises(InputError, match=match):
        run(toy_trial(**changes), tmp_path)
    assert not (tmp_path / "record.json").exists()


# --- divergence ----------------------------------------------------------------------------


def diverged(trial, folder, **options) -> TrialRecord:
    record = run(trial, folder, **options)
    assert record.status == "diverged"
    assert record.accuracy is None
    assert record.layers == []
    text = (folder / "record.json").read_text()
    plain = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the record"))
    assert plain["accuracy"] is None
    assert TrialRecord.load(folder / "record.json") == record
    assert run(trial, folder, **options) == record  # finished: not trained again
    assert len(record.history) == len(read_log(folder / "log.jsonl"))
    return record


@pytest.mark.parametrize("rule", ["bp", "dfa"])
def test_an_excessive_learning_rate_ends_as_diverged(rule, tmp_path):
    record = diverged(toy_trial(rule, learning_rate=1e30), tmp_path)
    assert record.divergence.epoch == 1
    assert record.divergence.layer in (None, 0, 1, 2)
    assert record.history == []


def test_inputs_out_of_range_diverge_at_the_stem(tmp_path):
    record = diverged(toy_trial(), tmp_path, data="huge")
    assert (record.divergence.epoch, record.divergence.layer) == (1, 0)


@pytest.mark.parametrize("at", [2, 1])
@pytest.mark.parametrize("batch_size", [8, 21])
def test_an_infinite_state_that_the_loss_does_not_show(tmp_path, at, batch_size):
    """h_at is infinite from the third batch on; what follows squashes it to finite numbers."""
    trial = toy_trial(model="hiding", batch_size=batch_size)
    with registered(MODELS, "hiding", hiding(at)):
        record = diverged(trial, tmp_path)
    epoch = 1 if batch_size == 8 else 3
    assert (record.divergence.epoch, record.divergence.layer) == (epoch, at)
    assert [e.epoch for e in record.history] == list(range(1, epoch))


def test_divergence_in_the_last_step_is_found_in_evaluation(tmp_path):
    """One step: the loss it was taken at is finite, the network that it leaves is not."""
    trial = toy_trial(epochs=1, batch_size=21, learning_rate=1e38, weight_decay=1e3)
    record = diverged(trial, tmp_path)
    assert (record.divergence.epoch, record.divergence.layer) == (1, None)
    assert len(record.history) == 1


def test_a_network_that_is_not_finite_has_no_accuracy():
    state = fresh_state(toy_trial())
    with torch.no_grad():
        state.model.head[1].bias[0] = torch.nan
    with pytest.raises(DivergedError):
        accuracy(state, Batches(toy(), toy().test))


def test_large_but_finite_states_do_not_count_as_diverged():
    """Vanilla DFA reaches ‖h‖ = 5e8; numbers up to 1e30 are sums and norms in range."""
    state = fresh_state(toy_trial(learning_rate=1e-6))
    with torch.no_grad():
        state.model.stem[1].weight *= 1e18
    epoch = train_epoch(state, toy_trial(learning_rate=1e-6), Batches(toy(), toy().train))
    assert all(math.isfinite(norm) and norm > 1e16 for norm in epoch.state_norms)


# --- the same network, read with fresh feedback --------------------------------------------


def in_folders(parent, **changes):
    """The trial read with its own feedback, and its twin read with a fresh draw."""
    pair = [toy_trial(reading_feedback=read, **changes) for read in ("trained", "fresh")]
    return [(trial, parent / trial.id) for trial in pair]


@pytest.mark.parametrize("stopped", [False, True], ids=["finished", "interrupted"])
def test_what_lies_beside_is_not_trained_again(stopped, tmp_path, monkeypatch):
    (trained, beside), (fresh, folder) = in_folders(tmp_path / "a", course="none")
    alone = run(fresh, tmp_path / "b" / fresh.id)
    first = run(trained, beside, stop=stop_at(2) if stopped else lambda: False)
    assert (first is None) == stopped
    epochs = []
    monkeypatch.setattr(
        "faeval.train.trial.train_epoch", lambda *a: epochs.append(1) or train_epoch(*a)
    )
    record = run(fresh, folder)
    assert len(epochs) == (2 if stopped else 0)
    assert (record.layers, record.accuracy) == (alone.layers, alone.accuracy)
    assert [e.loss for e in record.history] == [e.loss for e in alone.history]
    if not stopped:
        assert record.history == first.history  # to the second
        assert record.layers != first.layers
    assert (folder / CHECKPOINT).read_bytes() == (
        tmp_path / "b" / fresh.id / CHECKPOINT
    ).read_bytes()


def test_readings_in_training_are_of_ones_own_feedback(tmp_path):
    (trained, beside), (fresh, folder) = in_folders(tmp_path, course=1)
    run(trained, beside)
    run(fresh, folder)
    assert (folder / "course.jsonl").read_bytes() != (beside / "course.jsonl").read_bytes()
    assert len((folder / "course.jsonl").read_text().splitlines()) == 4


def test_a_twin_that_diverged_diverges_again(tmp_path):
    (trained, beside), (fresh, folder) = in_folders(tmp_path, course="none", learning_rate=1e30)
    first, again = run(trained, beside), run(fresh, folder)
    assert first.status == again.status == "diverged"
    assert first.divergence == again.divergence
