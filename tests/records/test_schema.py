"""Records that load again, and the log that keeps step with its checkpoint."""

import dataclasses
import functools
import itertools
import json
import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic import ValidationError

from faeval.core.errors import InputError
from faeval.core.reading import Reading
from faeval.core.trial import Recipe, Trial
from faeval.records.log import EpochLog, read_log
from faeval.records.schema import SCHEMA, Divergence, Epoch, TrialRecord, load_trial

TRIAL = Trial(
    data="digits",
    model={"name": "resmlp", "depth": 1, "width": 4},
    rule={"name": "dfa", "scale": 1.0},
    penalty=0.01,
    trainable_blocks=1,
    recipe=Recipe(epochs=2),
    seed=3,
)


AWKWARD = (0.1 + 0.2, 1 / 3, 1e-300, 5e-324, -0.0, 1.7976931348623157e308, 4e8, -1e-9)


def filled(kind: Any, *, undefined: bool, numbers: Iterator[float] | None = None) -> Any:
    """A value of the type `kind`, whatever fields it has: floats that are easily lost on the
    way through decimals, or None wherever that is allowed."""
    numbers = numbers or itertools.cycle(AWKWARD)
    fill = functools.partial(filled, undefined=undefined, numbers=numbers)
    if dataclasses.is_dataclass(kind):
        return kind(**{name: fill(hint) for name, hint in get_type_hints(kind).items()})
    arguments = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return None if undefined else fill(arguments[0])
    if get_origin(kind) is tuple:
        return tuple(fill(k) for k in arguments if k is not ...)
    return next(numbers) if kind is float else {int: 3, str: "λ", bool: True}[kind]


FULL, EMPTY = (filled(Reading, undefined=undefined) for undefined in (False, True))
FLOATS = [
    name for name, hint in get_type_hints(Reading).items() if float in (hint, *get_args(hint))
]


def epoch(number: int, **changes) -> Epoch:
    fields = {"loss": 2.3, "accuracy": 0.1, "state_norms": [1.0, 2 / 3], "seconds": 0.5}
    return Epoch(**({"epoch": number} | fields | changes))


def record(**changes) -> TrialRecord:
    fields = {
        "trial": TRIAL, "status": "completed", "accuracy": 0.5,
        "layers": [FULL, EMPTY], "history": [epoch(1), epoch(2)],
        "data_fingerprint": "0" * 16, "device": "cpu", "versions": {"torch": "2.13"},
        "seconds": 1.0,
    }  # fmt: skip
    return TrialRecord(**(fields | changes))


DIVERGED = record(
    status="diverged",
    divergence=Divergence(epoch=2, layer=None),
    accuracy=None,
    layers=[],
    history=[epoch(1)],
)


@pytest.mark.parametrize("written", [record(), DIVERGED], ids=["completed", "diverged"])
def test_a_record_comes_back_to_the_last_bit(tmp_path, written):
    written.save(tmp_path / "record.json")
    assert TrialRecord.load(tmp_path / "record.json") == written
    content = (tmp_path / "record.json").read_bytes()
    TrialRecord.load(tmp_path / "record.json").save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == content
    plain = json.loads(content, parse_constant=lambda name: pytest.fail(name))
    assert plain["schema_version"] == SCHEMA
    assert plain["trial"]["rule"] == {"name": "dfa", "scale": 1.0}


def test_a_record_from_before_the_later_fields_loads(tmp_path):
    content = record().model_dump(mode="json")
    for later in ("diagnostics", "processor", "threads", "score"):
        content.pop(later)
    (tmp_path / "record.json").write_text(json.dumps(content))
    older = TrialRecord.load(tmp_path / "record.json")
    assert (older.diagnostics, older.processor, older.threads) == ([], None, None)
    assert (older.score, older.accuracy) == ("accuracy", 0.5)


def test_what_is_undefined_is_null():
    full, empty = record().model_dump(mode="json")["layers"]
    assert all(value is not None for value in full.values())
    assert [empty[name] for name in FLOATS] == [None] * len(FLOATS)
    assert DIVERGED.model_dump(mode="json")["divergence"] == {"epoch": 2, "layer": None}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_is_not_written(tmp_path, value):
    """Wherever it hides: the old record stays, and no half of a new one."""
    record().save(tmp_path / "record.json")
    before = (tmp_path / "record.json").read_bytes()
    assert len(FLOATS) > 8
    hidden = [
        {"accuracy": value},
        {"seconds": value},
        {"history": [epoch(1, loss=value)]},
        {"history": [epoch(1, state_norms=[value])]},
        *({"layers": [dataclasses.replace(FULL, **{name: value})]} for name in FLOATS),
        {"layers": [dataclasses.replace(FULL, cosine_quantiles=(0, 0, value, 0, 0))]},
    ]
    for changes in hidden:
        with pytest.raises(ValueError, match=r"."):
            record(**changes).save(tmp_path / "record.json")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"record.json": before}


@pytest.mark.parametrize("version", [0, SCHEMA + 1, "1", None])
def test_a_record_of_another_schema_is_refused(tmp_path, version):
    plain = record().model_dump(mode="json") | {"schema_version": version}
    (tmp_path / "record.json").write_text(json.dumps(plain))
    expected = rf"schema version {SCHEMA} at .*record\.json, got version {version!r}"
    with pytest.raises(InputError, match=expected):
        TrialRecord.load(tmp_path / "record.json")


@pytest.mark.parametrize("content", ["[]", "3", "null", "{}"])
def test_something_else_than_a_record_is_refused(tmp_path, content):
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(InputError, match=r"record\.json"):
        TrialRecord.load(tmp_path / "record.json")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda r: r.pop("accuracy"), "accuracy"),
        (lambda r: r.update(surplus=1), "surplus"),
        (lambda r: r.update(status="fine"), "status"),
        (lambda r: r["layers"][0].pop("cosine_mean"), r"layers\.0\.cosine_mean"),
        (lambda r: r["layers"][0].update(cosine_mean="high"), r"layers\.0\.cosine_mean"),
        (lambda r: r["trial"].pop("seed"), r"trial\.seed"),
        (lambda r: r["history"][1].update(loss=None), r"history\.1\.loss"),
    ],
)
def test_a_damaged_record_is_told_by_the_place_of_the_damage(tmp_path, change, named):
    plain = record().model_dump(mode="json")
    change(plain)
    (tmp_path / "record.json").write_text(json.dumps(plain))
    with pytest.raises(InputError, match=rf"{named}' of the record .*record\.json"):
        TrialRecord.load(tmp_path / "record.json")


def test_a_trial_is_loaded_from_its_folder(tmp_path):
    (tmp_path / "trial.json").write_text(TRIAL.model_dump_json())
    assert load_trial(tmp_path) == TRIAL
    for damage in ("{}", "[]", '{"data": 3}'):
        (tmp_path / "trial.json").write_text(damage)
        with pytest.raises(InputError, match="the trial"):
            load_trial(tmp_path)


# --- the log -------------------------------------------------------------------------------


def test_the_log_grows_by_a_line_per_epoch(tmp_path):
    log = EpochLog(tmp_path / "log.jsonl", keep=0)
    for number in (1, 2, 3):
        log.append(epoch(number))
        assert read_log(tmp_path / "log.jsonl") == log.epochs
        assert len(log.epochs) == number
        text = (tmp_path / "log.jsonl").read_text()
        assert len(text.splitlines()) == number
        assert text.endswith("\n")


@pytest.mark.parametrize("keep", [0, 1, 2, 3, 9])
def test_a_log_that_is_opened_again_forgets_what_follows_its_checkpoint(tmp_path, keep):
    log = EpochLog(tmp_path / "log.jsonl", keep=0)
    for number in (1, 2, 3):
        log.append(epoch(number))
    again = EpochLog(tmp_path / "log.jsonl", keep=keep)
    assert [e.epoch for e in again.epochs] == [1, 2, 3][:keep]
    assert read_log(tmp_path / "log.jsonl") == again.epochs
    again.append(epoch(7))
    assert [e.epoch for e in read_log(tmp_path / "log.jsonl")] == [*[1, 2, 3][:keep], 7]


@pytest.mark.parametrize("cut", [1, 2, 10, 30])
def test_a_torn_last_line_is_dropped(tmp_path, cut):
    log = EpochLog(tmp_path / "log.jsonl", keep=0)
    for number in (1, 2):
        log.append(epoch(number))
    whole = (tmp_path / "log.jsonl").read_text()
    (tmp_path / "log.jsonl").write_text(whole[: -cut - 1] if cut > 1 else whole + "{")
    expected = [1] if cut > 1 else [1, 2]
    assert [e.epoch for e in read_log(tmp_path / "log.jsonl")] == expected
    again = EpochLog(tmp_path / "log.jsonl", keep=2)
    again.append(epoch(3))
    assert [e.epoch for e in read_log(tmp_path / "log.jsonl")] == [*expected, 3]


def test_no_log_is_no_epochs(tmp_path):
    assert read_log(tmp_path / "log.jsonl") == []


def test_a_record_cannot_be_changed():
    with pytest.raises(ValidationError):
        record().accuracy = 1.0
