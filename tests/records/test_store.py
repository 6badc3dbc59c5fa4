"""Atomic files and stable bytes."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from faeval.core.digest import tensor_digest
from faeval.core.errors import InputError
from faeval.records import store
from faeval.records.store import (
    make_folder,
    read_json,
    read_tensors,
    write_bytes,
    write_json,
    write_tensors,
)


def content(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


# --- atomic --------------------------------------------------------------------------------


def test_a_write_replaces_the_file(tmp_path):
    for text in (b"old", b"new, and longer", b""):
        write_bytes(tmp_path / "file", text)
        assert content(tmp_path) == {"file": text}


class FullError(Exception):
    """The disk is."""


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("error", [FullError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize(("where", "at"), [(Path, "open"), (store.os, "replace")])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, old, error, where, at
):
    if old is not None:
        (tmp_path / "file").write_bytes(old)
    before = content(tmp_path)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(where, at, fail)
    with pytest.raises(error):
        write_bytes(tmp_path / "file", b"new")
    monkeypatch.undo()
    assert content(tmp_path) == before


def test_the_new_file_appears_at_once_and_whole(tmp_path, monkeypatch):
    """At the moment of renaming the old file is untouched and the new one complete, beside it."""
    write_bytes(tmp_path / "file", b"old")
    seen = []
    rename = os.replace

    def watched(source, target):
        seen.append(content(tmp_path))
        rename(source, target)

    monkeypatch.setattr(store.os, "replace", watched)
    write_bytes(tmp_path / "file", b"new")
    (both,) = seen
    assert both.pop("file") == b"old"
    assert list(both.values()) == [b"new"]
    assert content(tmp_path) == {"file": b"new"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), object()])
@pytest.mark.parametrize("nested", [False, True])
def test_what_is_no_json_is_refused_before_anything_is_written(tmp_path, value, nested):
    write_json(tmp_path / "file", {"old": 1})
    before = content(tmp_path)
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "file", {"a": [1, {"b": value}]} if nested else value)
    with pytest.raises((ValueError, TypeError)):
        write_tensors(tmp_path / "file", {"t": torch.ones(1)}, {"a": value})
    assert content(tmp_path) == before


def test_json_comes_back(tmp_path):
    value = {"a": [1, 2.5, None, True, "λ ‖h‖"], "b": {"c": 1e-300}}
    write_json(tmp_path / "file", value)
    assert read_json(tmp_path / "file") == value
    assert (tmp_path / "file").read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("damage", [b"", b"{", b'{"a": 1', b"\xff\xfe", b"one two"])
def test_a_file_that_is_no_json_is_named(tmp_path, damage):
    (tmp_path / "file").write_bytes(damage)
    with pytest.raises(InputError, match=r"JSON in .*file"):
        read_json(tmp_path / "file")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a file x\.json in .*, got none .*No such file"):
        read_json(tmp_path / "x.json")
    with pytest.raises(InputError, match=r"a faeval checkpoint at .*x, got no such file"):
        read_tensors(tmp_path / "x")


# --- tensors -------------------------------------------------------------------------------


def tensors() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {
        "b.weight": torch.randn(3, 4, generator=draw),
        "a": torch.randn(5, generator=draw).double(),
        "scalar": torch.tensor(1.5),
        "bytes": torch.arange(7, dtype=torch.uint8),
        "count": torch.tensor(2**40),
        "empty": torch.zeros(0, 2),
        "special": torch.tensor([torch.nan, torch.inf, -0.0, 1e-45]),
    }


META = {"epoch": 3, "data": "abc", "list": [1, 2], "λ": None}


def test_tensors_come_back_bit_by_bit(tmp_path):
    write_tensors(tmp_path / "file", tensors(), META)
    found, meta = read_tensors(tmp_path / "file")
    assert meta == META
    assert found.keys() == tensors().keys()
    for name, t in tensors().items():
        assert found[name].dtype == t.dtype
        assert found[name].shape == t.shape
        assert found[name].numpy().tobytes() == t.numpy().tobytes()


def test_bytes_do_not_depend_on_the_order_of_the_keys(tmp_path):
    names = list(tensors())
    files = set()
    for turn in range(len(names)):
        order = names[turn:] + names[:turn]
        meta = {key: META[key] for key in (list(META) if turn % 2 else reversed(META))}
        write_tensors(tmp_path / "file", {name: tensors()[name] for name in order}, meta)
        files.add((tmp_path / "file").read_bytes())
    assert len(files) == 1


def test_views_and_parameters_are_written_by_their_values(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    given = {"t": base.T, "row": base[1], "p": torch.nn.Parameter(torch.ones(2))}
    write_tensors(tmp_path / "file", given, {})
    found, _ = read_tensors(tmp_path / "file")
    assert all(torch.equal(found[name], t) for name, t in given.items())
    assert not found["p"].requires_grad


def test_there_is_one_metadata_key_that_holds_json(tmp_path):
    write_tensors(tmp_path / "file", tensors(), META)
    with safe_open(tmp_path / "file", framework="pt") as file:
        (note,) = file.metadata().values()
    assert json.loads(note) == META | {"digest": tensor_digest(tensors())}


def test_the_digest_is_of_the_tensors_and_not_told_to_the_reader(tmp_path):
    digests = set()
    for changed in (tensors(), tensors() | {"a": torch.zeros(5)}):
        write_tensors(tmp_path / "file", changed, META)
        with safe_open(tmp_path / "file", framework="pt") as file:
            (note,) = file.metadata().values()
        digests.add(json.loads(note)["digest"])
        assert read_tensors(tmp_path / "file")[1] == META
    assert len(digests) == 2


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_any_flipped_byte_of_the_tensors_is_noticed(tmp_path, bit):
    """The format itself has no checksum: such a file would load."""
    write_tensors(tmp_path / "file", tensors(), META)
    whole = (tmp_path / "file").read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    assert len(whole) - start == sum(t.nbytes for t in tensors().values())
    for at in range(start, len(whole)):
        (tmp_path / "file").write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        with pytest.raises(InputError, match=r"checkpoint at .*file, got a corrupted file"):
            read_tensors(tmp_path / "file")
    (tmp_path / "file").write_bytes(whole)
    assert read_tensors(tmp_path / "file")[1] == META


def test_a_file_without_a_digest_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file(tensors(), tmp_path / "file", metadata={"faeval": json.dumps(META)})
    with pytest.raises(InputError, match="got a corrupted file"):
        read_tensors(tmp_path / "file")


@pytest.mark.parametrize("keep", [0, 1, 8, 9, 60, -1, -9])
def test_a_truncated_file_is_named(tmp_path, keep):
    write_tensors(tmp_path / "file", tensors(), META)
    whole = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(whole[:keep])
    with pytest.raises(InputError, match=r"a faeval checkpoint at .*file, got a corrupted file"):
        read_tensors(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == whole[:keep]


@pytest.mark.parametrize("metadata", [None, {"other": "{}"}, {"faeval": "{"}])
def test_tensors_of_another_program_are_refused(tmp_path, metadata):
    from safetensors.torch import save_file

    save_file({"t": torch.ones(1)}, tmp_path / "file", metadata=metadata)
    with pytest.raises(InputError, match="a faeval checkpoint"):
        read_tensors(tmp_path / "file")


# --- folders -------------------------------------------------------------------------------


def test_a_folder_that_can_be_written_is_made_and_left_clean(tmp_path):
    make_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "a" / "b" / "file").write_text("x")
    make_folder(tmp_path / "a" / "b")
    assert content(tmp_path / "a" / "b") == {"file": b"x"}


@pytest.mark.parametrize("below", ["file", "file/a"])
def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path, below):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"a folder that can be written, got .*file.*--out DIR"):
        make_folder(tmp_path / below)
    assert content(tmp_path) == {"file": b"x"}


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path, monkeypatch):
    """It is there, and takes no file: read-only, or full."""

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.tempfile, "TemporaryFile", full)
    with pytest.raises(
        InputError, match=r"can be written, got .*folder \(No space left on device\).*--out DIR"
    ):
        make_folder(tmp_path / "folder")
