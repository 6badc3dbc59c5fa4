"""Where a study stands, from its folder alone."""

import pytest
from by_hand import record
from small import config

from faeval.records.log import EpochLog
from faeval.records.schema import Epoch
from faeval.study.forecast import standings
from faeval.study.plan import plan


def logged(trial, out, epochs: int, seconds: float) -> None:
    folder = out / "trials" / trial.id
    folder.mkdir(parents=True)
    log = EpochLog(folder / "log.jsonl", keep=0)
    for e in range(epochs):
        log.append(Epoch(epoch=e + 1, loss=1.0, accuracy=0.1, state_norms=[1.0], seconds=seconds))


def test_without_a_folder_everything_is_to_train_and_nothing_is_known(tmp_path):
    found = standings(plan(config()).trials, tmp_path / "none")
    assert {(s.status, s.epochs, s.seconds_left) for s in found} == {("to train", 0, None)}
    assert not (tmp_path / "none").exists()


def test_time_is_expected_from_the_same_data_model_and_rule(tmp_path):
    trials = plan(config(seeds=[1, 2], epochs=4)).trials
    by_rule = {}
    for trial in trials:
        by_rule.setdefault((trial.rule["name"], trial.trainable_blocks), []).append(trial)
    done, left = by_rule["dfa", 2]
    logged(done, tmp_path, 4, 2.0)
    record(done, 0.5).save(tmp_path / "trials" / done.id / "record.json")
    logged(left, tmp_path, 1, 6.0)
    found = {s.trial.id: s for s in standings(trials, tmp_path)}
    assert (found[done.id].status, found[done.id].seconds_left) == ("finished", 0.0)
    assert (found[left.id].status, found[left.id].epochs) == ("begun", 1)
    assert found[left.id].seconds_left == pytest.approx(3 * (4 * 2.0 + 6.0) / 5)
    others = [found[t.id] for t in trials if t.rule["name"] == "bp" or not t.trainable_blocks]
    assert {s.seconds_left for s in others} == {None}
