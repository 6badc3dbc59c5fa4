"""The cache saves work and never changes, prevents or damages a result."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hub_files import encode, random_images, write, write_tiny

from faeval.data import hub_images
from faeval.data.cache import cache_folder, cached, file_digest, tensor_digest


def tensors() -> dict[str, torch.Tensor]:
    return {"x": torch.arange(24, dtype=torch.uint8).view(2, 3, 4), "y": torch.tensor([3, -1])}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def never() -> dict[str, torch.Tensor]:
    raise AssertionError("built although it was kept")


def test_the_second_load_does_not_decode(tmp_path, tiny, monkeypatch):
    write_tiny(tmp_path / "data")
    first = tiny.load(tmp_path / "data")
    monkeypatch.setattr(hub_images, "read_split", never)
    second = tiny.load(tmp_path / "data")
    assert first.fingerprint == second.fingerprint
    for split in ("train", "test"):
        assert torch.equal(getattr(first, split).x, getattr(second, split).x)
        assert torch.equal(getattr(first, split).y, getattr(second, split).y)
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.std, second.std)


def test_the_fingerprint_follows_the_content_not_names_or_times(tmp_path, tiny):
    write_tiny(tmp_path / "a")
    before = tiny.load(tmp_path / "a").fingerprint
    shard = tmp_path / "a" / "train-00000-of-00001.parquet"
    times = shard.stat().st_atime_ns, shard.stat().st_mtime_ns
    shutil.move(shard, tmp_path / "a" / "tiny-train.parquet")
    assert tiny.load(tmp_path / "a").fingerprint == before
    write(tmp_path / "a" / "tiny-train.parquet", [encode(random_images(1)[0])], [2])
    os.utime(tmp_path / "a" / "tiny-train.parquet", ns=times)
    changed = tiny.load(tmp_path / "a")
    assert changed.fingerprint != before
    assert len(changed.train) == 1
    assert len(before) == 16
    assert int(before, 16) >= 0


def test_digests_tell_splits_types_and_shapes_apart(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    a, b = tmp_path / "a", tmp_path / "b"
    orders = [{"train": [a], "test": [b]}, {"train": [b], "test": [a]}, {"train": [a, b]}]
    assert len({file_digest(files) for files in orders}) == 3
    ones = torch.ones(2, 3)
    variants = [{"x": ones}, {"y": ones}, {"x": ones.view(3, 2)}, {"x": ones.int()}]
    assert len({tensor_digest(variant) for variant in variants}) == 4
    assert tensor_digest({"x": ones.t()}) == tensor_digest({"x": ones.t().contiguous()})


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def other_tensors(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, path, {"faeval": json.dumps({"format": 1, "digest": "no"})})


def no_note(path: Path) -> None:
    from safetensors.torch import save_file

    save_file(tensors(), path)


@pytest.mark.parametrize("damage", [empty, cut, flip_a_bit, other_tensors, no_note])
def test_a_damaged_file_is_built_anew_without_a_word(cache_folder, damage):
    cached("key", tensors)
    (file,) = cache_folder.iterdir()
    damage(file)
    assert equal(cached("key", tensors), tensors())
    assert equal(cached("key", never), tensors())
    assert [entry.name for entry in cache_folder.iterdir()] == [file.name]


def test_a_folder_that_cannot_be_written_warns_and_does_not_stop(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FAEVAL_CACHE", str(tmp_path / "file" / "below"))
    with pytest.warns(UserWarning, match="FAEVAL_CACHE"):
        result = cached("key", tensors)
    assert equal(result, tensors())


def test_a_failed_write_warns_and_leaves_nothing_behind(cache_folder, monkeypatch):
    def full_disk(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.warns(UserWarning, match="No space left"):
        cached("key", tensors)
    assert list(cache_folder.iterdir()) == []


def test_building_at_once_is_harmless(cache_folder):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: cached("key", tensors), range(40)))
    assert all(equal(result, tensors()) for result in results)
    assert [entry.name for entry in cache_folder.iterdir()] == ["key.safetensors"]


def test_an_error_while_building_keeps_nothing(cache_folder):
    with pytest.raises(AssertionError):
        cached("key", never)
    assert not cache_folder.exists() or list(cache_folder.iterdir()) == []


def test_the_folder_is_the_users_unless_the_variable_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("FAEVAL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FAEVAL_CACHE")
    assert "faeval" in cache_folder().parts
