"""Readings in training: taken when they are due, and training none the wiser."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import CPU, fresh_state, run, stop_at, toy, toy_trial

from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.core.reading import NullReading
from faeval.core.trial import Recipe
from faeval.data import Batches
from faeval.records.log import read_course
from faeval.stats import monte_carlo_null
from faeval.train.course import DRAWS, Course, few_draws
from faeval.train.loop import train_epoch
from faeval.train.read import read, reading_batch


@pytest.mark.parametrize(
    ("epochs", "course", "due"),
    [
        (20, "logarithmic", (0, 1, 2, 4, 8, 16)),
        (16, "logarithmic", (0, 1, 2, 4, 8)),
        (1, "logarithmic", (0,)),
        (0, "logarithmic", ()),
        (5, "none", ()),
        (5, 1, (0, 1, 2, 3, 4)),
        (5, 2, (0, 2, 4)),
        (5, (9, 3, 0, 3), (0, 3)),
    ],
)
def test_the_schedule(epochs, course, due):
    assert Recipe(epochs=epochs, course=course).course_epochs == due


@settings(deadline=None, max_examples=30, derandomize=True, database=None)
@given(st.integers(0, 2000))
def test_the_default_reads_often_at_first_and_rarely_later(epochs):
    due = Recipe(epochs=epochs).course_epochs
    twin = tuple(e for e in range(epochs) if e == 0 or e & (e - 1) == 0)
    assert due == twin


@pytest.mark.parametrize("bad", [0, -1, "often", 1.5, [-1], True])
def test_a_schedule_that_makes_no_sense_is_refused(bad):
    with pytest.raises((InputError, ValueError)):
        Recipe(course=bad)


def test_defaults_leave_the_plain_form_of_a_recipe_alone():
    """Ids hash it: those from before these fields stay as they are."""
    assert not {"course", "validation"} & set(Recipe().model_dump())
    assert {"course", "validation"} <= set(Recipe(course=1, validation=0.1).model_dump())
    told = Recipe(course=(0, 2), validation=0.25)
    assert Recipe.model_validate_json(told.model_dump_json()) == told


def test_reading_changes_no_bit_of_the_training(tmp_path):
    files = {}
    for course in (1, "none"):
        run(toy_trial(course=course), tmp_path / str(course))
        files[course] = (tmp_path / str(course) / "checkpoint.safetensors").read_bytes()
    assert files[1] == files["none"]
    assert [c.epoch for c in read_course(tmp_path / "1" / "course.jsonl")] == [0, 1, 2, 3]
    assert not (tmp_path / "none" / "course.jsonl").exists()


@pytest.mark.parametrize("feedback", ["trained", "fresh"])
def test_a_course_reads_what_the_network_was_at_that_epoch(tmp_path, feedback):
    trial = toy_trial(course=[2], reading_feedback=feedback)
    run(trial, tmp_path)
    ((epoch, layers),) = [(c.epoch, c.layers) for c in read_course(tmp_path / "course.jsonl")]
    state = fresh_state(trial)
    for _ in range(2):
        train_epoch(state, trial, Batches(toy(), toy().train))
    used = state.feedback
    if feedback == "fresh":
        used = state.rule.init(state.model, generator(trial.seed, "fresh feedback"))
    batch = reading_batch(Batches(toy(), toy().test), trial.recipe.reading_images)
    here = read(state.model, state.rule, used, *batch, probe_images=0)
    assert (epoch, layers) == (2, here)


@pytest.mark.parametrize("stops", [(1,), (3,), (1, 2, 3)])
def test_an_interrupted_trial_ends_with_the_same_course(tmp_path, stops):
    trial = toy_trial(course=1)
    run(trial, tmp_path / "whole")
    for stop in stops:
        run(trial, tmp_path / "parts", stop=stop_at(stop - (stops.index(stop) and stops[0])))
    run(trial, tmp_path / "parts")
    whole, parts = ((tmp_path / n / "course.jsonl").read_bytes() for n in ("whole", "parts"))
    assert parts == whole


@pytest.mark.parametrize("lines", [0, 1, 4])
def test_readings_after_the_checkpoint_are_taken_again(tmp_path, lines):
    """As after a kill: the file is ahead of the checkpoint, or torn."""
    trial = toy_trial(course=1)
    run(trial, tmp_path / "whole")
    whole = (tmp_path / "whole" / "course.jsonl").read_bytes()
    folder = tmp_path / "killed"
    run(trial, folder, stop=stop_at(1))
    kept = b"".join(whole.splitlines(keepends=True)[: max(lines, 2)])
    (folder / "course.jsonl").write_bytes(kept + b'{"epoch": 9, "lay')
    run(trial, folder)
    assert (folder / "course.jsonl").read_bytes() == whole


def test_an_epoch_is_read_once(tmp_path):
    trial = toy_trial(course=1)
    course = Course(tmp_path / "course.jsonl", trial, toy(), CPU)
    state = fresh_state(trial)
    course.read(state)
    course.read(state)
    assert [c.epoch for c in read_course(tmp_path / "course.jsonl")] == [0]


def test_a_trial_on_held_out_data_never_meets_the_test_data(tmp_path, monkeypatch):
    trial = toy_trial(validation=0.3, course=1)
    record = run(trial, tmp_path)
    met = []
    original = Batches.take

    def taken(self, indices):
        met.append(len(self))
        return original(self, indices)

    monkeypatch.setattr(Batches, "take", taken)
    again = run(toy_trial(validation=0.3, course=1, seed=4), tmp_path / "again")
    assert set(met) == {7}  # ⌈0.3 · 21⌉, where the test data are 11
    assert record.layers[0].samples == again.layers[0].samples == 6
    assert record.accuracy * 7 == pytest.approx(round(record.accuracy * 7))


def test_few_draws_flag_chance_as_often_as_they_say():
    """Observed and draws of one Gaussian: the p-value is uniform, whatever its mean and spread."""
    draw = torch.Generator().manual_seed(3)
    values = 0.3 + 0.01 * torch.randn(4000, DRAWS + 1, generator=draw, dtype=torch.float64)
    ps = []
    for observed, *draws in values.tolist():
        null = monte_carlo_null(draws)
        rank = NullReading(null.mean, null.std, 0.5, "monte-carlo", DRAWS, 64, observed, 0.3, 0.5)
        one = few_draws(rank)
        assert 0 < one.p < 1
        ps.append(one.p)
    for alpha in (0.01, 0.05, 0.5):
        rate = sum(p <= alpha for p in ps) / len(ps)
        assert abs(rate - alpha) < 4 * (alpha * (1 - alpha) / len(ps)) ** 0.5


@pytest.mark.parametrize("null", [
    NullReading(0.0, 0.03, 0.2, "gaussian-feedback", None, 64, 0.1, 0.0, 0.5),
    NullReading(0.1, 0.0, 1.0, "monte-carlo", DRAWS, 64, 0.1, 0.1, 1.0),
])  # fmt: skip
def test_a_closed_form_or_a_null_without_spread_stays(null):
    assert few_draws(null) == null


def test_a_drawn_null_is_made_of_few_draws(tmp_path):
    run(toy_trial(course=[0, 2], rule={"name": "fa", "scale": 1.0}), tmp_path)
    untrained, reading = read_course(tmp_path / "course.jsonl")
    assert all(at.null is None for at in untrained.layers)
    nulls = [at.null for at in reading.layers if at.null is not None]
    assert nulls
    for null in nulls:
        assert null.draws == DRAWS
        assert null == few_draws(null)
