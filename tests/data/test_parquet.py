"""Parquet files as users have them: whole ones in every layout, and broken ones."""

import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hub_files import encode, random_images, write, write_tiny

from faeval.core.errors import InputError
from faeval.data.hub_images import moments
from faeval.data.parquet import read_split

SHAPE = (3, 8, 6)


def channels_first(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def refused(call, *parts: str) -> None:
    """`call` raises InputError in one line that mentions every part."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("group", [1, 3, 100])
def test_shards_keep_their_rows_in_order_whatever_the_row_groups(tmp_path, tiny, group):
    images, labels = random_images(10), [2, 0, 1, 1, 0, 2, 2, 1, 0, 0]
    for part, rows in enumerate((slice(0, 4), slice(4, 5), slice(5, 10))):
        write(
            tmp_path / "plain_text" / f"train-{part:05d}-of-00003.parquet",
            [encode(one) for one in images[rows]], labels[rows], row_group_size=group,
        )  # fmt: skip
    write(tmp_path / "plain_text" / "test-00000-of-00001.parquet", [encode(images[0])], [2])
    data = tiny.load(tmp_path)
    assert torch.equal(data.train.x, channels_first(images))
    assert data.train.y.tolist() == labels
    assert len(data.test) == 1
    assert data.input_shape == SHAPE
    assert (data.crop_padding, data.flip) == (2, True)


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_rows_in_any_order_are_the_same_samples(tmp_path, order):
    images, labels = random_images(9), np.arange(9) % 3
    rows = np.argsort(labels, kind="stable")
    rows = rows if order == "sorted" else np.random.default_rng(0).permutation(9)
    write(tmp_path / "a.parquet", [encode(images[n]) for n in rows], labels[rows].tolist())
    split = read_split([tmp_path / "a.parquet"], SHAPE, 3)
    assert torch.equal(split.x, channels_first(images[rows]))
    assert split.y.tolist() == labels[rows].tolist()


@pytest.mark.parametrize("naming", ["tiny-{}", "{}", "{}/0000", "tiny/{}", "tiny/plain_text/{}"])
def test_other_namings_are_found(tmp_path, tiny, naming):
    images = write_tiny(tmp_path / "origin")
    for split in images:
        target = tmp_path / "data" / f"{naming.format(split)}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(tmp_path / "origin" / f"{split}-00000-of-00001.parquet", target)
    assert torch.equal(tiny.load(tmp_path / "data").train.x, channels_first(images["train"]))


@pytest.mark.parametrize(("image", "label"), [("image", "fine_label"), ("img", "fine_label")])
def test_renamed_columns(tmp_path, image, label):
    write(tmp_path / "a.parquet", [encode(random_images(1)[0])], [1], image, label)
    assert read_split([tmp_path / "a.parquet"], SHAPE, 3).y.tolist() == [1]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP"])
def test_formats(tmp_path, form):
    smooth = np.full((8, 6, 3), (200, 100, 50), dtype=np.uint8)
    write(tmp_path / "a.parquet", [encode(smooth, form)], [1])
    x = read_split([tmp_path / "a.parquet"], SHAPE, 3).x
    assert (x[0] - torch.tensor([200, 100, 50])[:, None, None]).abs().max() <= (form == "JPEG") * 3


def test_grey_images_become_colour_and_colour_becomes_grey(tmp_path):
    grey = random_images(2, shape=(8, 6))
    write(tmp_path / "a.parquet", [encode(one) for one in grey], [0, 1])
    colour = read_split([tmp_path / "a.parquet"], SHAPE, 3).x
    assert torch.equal(colour, torch.from_numpy(grey)[:, None].expand(2, 3, 8, 6))
    write(tmp_path / "b.parquet", [encode(np.stack([one] * 3, -1)) for one in grey], [0, 1])
    single = read_split([tmp_path / "b.parquet"], (1, 8, 6), 3).x
    assert torch.equal(single, torch.from_numpy(grey)[:, None])


def test_an_absent_folder_or_split(tmp_path, tiny):
    refused(lambda: tiny.load(tmp_path / "no"), "no", "--data-dir")
    refused(lambda: tiny.load(tmp_path), "train split", "'tiny'", "--data-dir")
    write_tiny(tmp_path)
    (tmp_path / "test-00000-of-00001.parquet").unlink()
    refused(lambda: tiny.load(tmp_path), "test split")


def test_incomplete_or_double_shards(tmp_path, tiny):
    write_tiny(tmp_path)
    shard = tmp_path / "train-00000-of-00001.parquet"
    shutil.copy(shard, tmp_path / "tiny-train.parquet")
    refused(lambda: tiny.load(tmp_path), "one set of train files", "tiny-train.parquet")
    (tmp_path / "tiny-train.parquet").unlink()
    shard.rename(tmp_path / "train-00000-of-00002.parquet")
    refused(lambda: tiny.load(tmp_path), "every shard of the train split", "fetch the missing")


@pytest.mark.parametrize("keep", [0, 3, 200, -1])
def test_a_truncated_file_is_named(tmp_path, tiny, keep):
    write_tiny(tmp_path)
    file = tmp_path / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:keep])
    refused(lambda: tiny.load(tmp_path), file.name, "whole parquet file")


def test_wrong_columns_are_listed(tmp_path):
    file = tmp_path / "a.parquet"
    write(file, [encode(random_images(1)[0])], [1], label="coarse")
    refused(lambda: read_split([file], SHAPE, 3), "a.parquet", "coarse: int64", "fine_label")
    write(file, [encode(random_images(1)[0])], ["cat"])
    refused(lambda: read_split([file], SHAPE, 3), "label: string")
    pq.write_table(pa.table({"img": ["x.png"], "label": [0]}), file)
    refused(lambda: read_split([file], SHAPE, 3), "img: string", "struct with bytes")


@pytest.mark.parametrize("bad", [3, -1, None])
def test_labels_out_of_range(tmp_path, bad):
    file = tmp_path / "a.parquet"
    write(file, [encode(one) for one in random_images(3)], [0, 2, bad])
    refused(lambda: read_split([file], SHAPE, 3), "0…2", f"{bad} in row 2 of a.parquet")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"not an image", "cannot identify"),
        (b"", "cannot identify"),
        (None, "no bytes"),
        (encode(random_images(1)[0])[:80], "row 1"),
        (encode(random_images(1)[0], "JPEG")[:300], "row 1"),
        (encode(random_images(1, shape=(6, 8, 3))[0]), "8×6 pixels"),
    ],
)
def test_an_image_that_is_damaged_or_of_another_size(tmp_path, data, reason):
    file = tmp_path / "a.parquet"
    write(file, [encode(random_images(1)[0]), data], [0, 0])
    refused(lambda: read_split([file], SHAPE, 3), reason, "row 1 of a.parquet", "6×8 pixels")


def test_an_empty_split(tmp_path):
    kind = pa.struct([("bytes", pa.binary())])
    table = pa.table({"img": pa.array([], kind), "label": pa.array([], pa.int64())})
    pq.write_table(table, tmp_path / "a.parquet")
    refused(lambda: read_split([tmp_path / "a.parquet"], SHAPE, 3), "at least one row")


def test_moments_are_those_of_all_pixels():
    x = channels_first(random_images(11))
    x[:, 2] = 7
    mean, std = moments(x)
    pixels = x.double().transpose(0, 1).flatten(1) / 255
    torch.testing.assert_close(mean, pixels.mean(1).float())
    torch.testing.assert_close(std[:2], pixels.std(1, correction=0)[:2].float())
    assert std[2] == 1


def test_without_a_folder_and_without_the_extra_the_error_names_both(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refused(tiny.load, "'tiny'", "--data-dir DIR", "faeval[hub]")


def test_the_hub_supplies_the_folder(tmp_path, tiny, monkeypatch):
    images = write_tiny(tmp_path / "plain_text")
    hub = types.ModuleType("huggingface_hub")
    asked = {}

    def snapshot_download(repo: str, **options) -> str:
        asked.update(options, repo=repo)
        return str(tmp_path)

    hub.__dict__["snapshot_download"] = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert torch.equal(tiny.load().train.x, channels_first(images["train"]))
    assert asked == {
        "repo": "nobody/tiny", "repo_type": "dataset",
        "allow_patterns": ["plain_text/train-*.parquet", "plain_text/test-*.parquet"],
    }  # fmt: skip


def test_a_failing_hub_is_an_input_error(tiny, monkeypatch):
    hub = types.ModuleType("huggingface_hub")

    def snapshot_download(repo: str, **options) -> Path:
        raise ConnectionError("name\nnot known")

    hub.__dict__["snapshot_download"] = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    refused(tiny.load, "nobody/tiny", "ConnectionError", "--data-dir DIR")
