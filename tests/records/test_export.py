"""One table: every number of the records, in columns that a reader knows."""

import pyarrow.csv
import pyarrow.parquet
import pytest

from faeval.core.errors import InputError
from faeval.core.reading import Reading
from faeval.core.trial import Recipe, Trial
from faeval.records.export import export, rows
from faeval.records.schema import Divergence, TrialRecord


def reading(state: int) -> Reading:
    numbers = dict.fromkeys(Reading.__dataclass_fields__, 0.5)
    counts = {"state": state, "samples": 9, "undefined": 0, "zero": 0, "zero_credit": 0}
    rest = {"precisions": (), "null": None, "direction": None, "probes": None, "non_finite": 0}
    return Reading(**(numbers | counts | rest | {"cosine_quantiles": (0.1, 0.2, 0.3, 0.4, 0.5)}))


def record(seed: int, states: int = 2, **changes) -> TrialRecord:
    trial = Trial(
        data="digits", model={"name": "resmlp", "depth": 1}, rule={"name": "dfa", "scale": 2.0},
        penalty=0.01, trainable_blocks=1, recipe=Recipe(course=(0, 3)), seed=seed,
    )  # fmt: skip
    fields = {
        "trial": trial, "status": "completed", "accuracy": 0.25, "history": [], "device": "cpu",
        "layers": [reading(l) for l in range(states)], "data_fingerprint": "f00d",
        "versions": {"torch": "2.13"}, "seconds": 1.5,
    }  # fmt: skip
    return TrialRecord(**(fields | changes))


def gone(seed: int) -> TrialRecord:
    at = Divergence(epoch=3, layer=1)
    return record(seed, status="diverged", divergence=at, accuracy=None, layers=[])


def test_a_row_for_every_state_with_the_trial_beside_it():
    first, second = rows(record(7))
    assert (first["state"], second["state"]) == (0, 1)
    assert first["trial"] == record(7).trial.id
    assert (first["model"], first["model_options"]) == ("resmlp", '{"depth": 1}')
    assert (first["rule"], first["rule_options"]) == ("dfa", '{"scale": 2.0}')
    assert (first["recipe_learning_rate"], first["recipe_course"]) == (5e-3, "[0, 3]")
    assert (first["cosine_q25"], first["cosine_mean"]) == (0.2, 0.5)
    assert (first["version_torch"], first["accuracy"], first["seed"]) == ("2.13", 0.25, 7)
    assert first["score"] == "accuracy"


def test_a_trial_that_diverged_has_one_row_without_a_state():
    (row,) = rows(gone(1))
    assert (row["status"], row["divergence_epoch"], row["divergence_layer"]) == ("diverged", 3, 1)
    assert "state" not in row


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_both_formats_hold_every_row(tmp_path, suffix):
    """Also where the first record lacks the columns of the next."""
    path = tmp_path / f"trials{suffix}"
    some = [gone(1), record(2), record(3, states=3)]
    assert export(some, path) == 1 + 2 + 3
    reader = pyarrow.csv.read_csv if suffix == ".csv" else pyarrow.parquet.read_table
    table = reader(path)
    assert table.num_rows == 6
    assert set(table.column_names) == {key for r in some for row in rows(r) for key in row}
    assert table.column("seed").to_pylist() == [1, 2, 2, 3, 3, 3]
    assert table.column("state").to_pylist() == [None, 0, 1, 0, 1, 2]
    assert table.column("cosine_mean").to_pylist() == [None] + [0.5] * 5
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["trials.txt", "trials", "none/trials.csv"])
def test_what_cannot_be_written_is_told(tmp_path, name):
    with pytest.raises(InputError):
        export([record(1)], tmp_path / name)
    assert not list(tmp_path.iterdir())
