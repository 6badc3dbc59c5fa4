"""Data of one's own: what is found in the files, and what is refused in one line."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hub_files import encode, random_images, write
from safetensors.torch import save_file

from faeval.core.errors import InputError
from faeval.data import load


def refused(name, folder, *parts: str) -> None:
    with pytest.raises(InputError) as caught:
        load(name, folder)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def tables(folder, train: dict, test: dict | None = None) -> None:
    for split, columns in (("train", train), ("test", train if test is None else test)):
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")


def tensor_files(folder, train: dict, test: dict | None = None) -> None:
    for split, content in (("train", train), ("test", train if test is None else test)):
        save_file(content, folder / f"{split}.safetensors")


FEATURES = {"a": [1, 2, 3], "label": [0, 1, 2], "b": [0.5, 1.5, 4.0], "c": [[1, 2], [3, 4], [5, 6]]}


@pytest.mark.parametrize("shape", [(5, 7, 3), (6, 4)])
def test_images_of_any_one_size(tmp_path, shape):
    images = random_images(5, shape=shape)
    for split in ("train", "test"):
        file = tmp_path / "data" / f"{split}-00000-of-00001.parquet"
        write(file, [encode(one) for one in images], [2, 0, 1, 3, 1], "image")
    data = load("parquet", tmp_path)
    channels = images[..., None] if images.ndim == 3 else images
    assert torch.equal(data.train.x, torch.from_numpy(channels.transpose(0, 3, 1, 2).copy()))
    assert data.train.y.tolist() == [2, 0, 1, 3, 1]
    assert (data.classes, data.flip, data.crop_padding) == (4, False, 0)


def test_features_are_all_other_columns(tmp_path):
    order = ["c", "label", "b", "a"]
    tables(tmp_path, FEATURES, {name: FEATURES[name] for name in order})
    data = load("parquet", tmp_path)
    expected = torch.tensor([[1, 0.5, 1, 2], [2, 1.5, 3, 4], [3, 4, 5, 6]])
    for split in (data.train, data.test):
        assert torch.equal(split.x, expected)
        assert split.y.tolist() == [0, 1, 2]
    assert data.classes == 3
    torch.testing.assert_close(data.mean, expected.mean(0))
    torch.testing.assert_close(data.std, expected.std(0, correction=0))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"label": [1, 2, 3]}, "number the classes from 0"),
        ({"label": [0, 2, 2]}, "training labels 0…1"),
        ({"label": [-1, 0, 1]}, "got -1, 0, 1"),
        ({"label": [0.0, 1.0, 2.0]}, "integer labels"),
        ({"label": [0, None, 1]}, "empty rows"),
        ({"a": ["x", "y", "z"]}, "column 'a' of train.parquet"),
        ({"a": [1, None, 3]}, "column 'a'"),
        ({"a": [1.0, float("nan"), 3.0]}, "finite numbers in column 'a'"),
        ({"c": [[1, 2], [3], [4, 5]]}, "lists of numbers of one length"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(tmp_path, changed, said):
    tables(tmp_path, FEATURES | changed)
    refused("parquet", tmp_path, said)


def test_columns_must_agree(tmp_path):
    tables(tmp_path, FEATURES, {"a": [1], "label": [0], "b": [0.5]})
    refused("parquet", tmp_path, "a, label, b, c", "test.parquet", "same columns")
    tables(tmp_path, {"a": [1, 2], "target": [0, 1]})
    refused("parquet", tmp_path, "label or fine_label", "got a, target")
    tables(tmp_path, {"label": [0, 1]})
    refused("parquet", tmp_path, "features and a label")


def test_a_test_label_that_training_lacks(tmp_path):
    tables(tmp_path, FEATURES, FEATURES | {"label": [0, 1, 3]})
    refused("parquet", tmp_path, "test labels", "0…3")


def test_images_that_are_none_or_of_several_sizes(tmp_path):
    tables(tmp_path, {"image": [1.0, 2.0], "label": [0, 1]})
    refused("parquet", tmp_path, "an encoded image", "train.parquet")
    sizes = [(8, 6, 3), (6, 8, 3)]
    for split in ("train", "test"):
        encoded = [encode(random_images(1, shape=shape)[0]) for shape in sizes]
        write(tmp_path / f"{split}.parquet", encoded, [0, 1])
    refused("parquet", tmp_path, "8×6 pixels in row 1")


@pytest.mark.parametrize("name", ["parquet", "tensors"])
def test_a_folder_must_be_named_and_hold_both_files(tmp_path, name):
    refused(name, None, "--data-dir DIR")
    refused(name, tmp_path / "no", "not a folder")
    refused(name, tmp_path, "train")
    tables(tmp_path, FEATURES)
    tensor_files(tmp_path, {"x": torch.zeros(2, 3), "y": torch.tensor([0, 1])})
    for file in tmp_path.glob("test.*"):
        file.write_bytes(file.read_bytes()[:20])
    refused(name, tmp_path, "cannot be read", "test.")


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("labels", [torch.int64, torch.int32, torch.uint8])
def test_tensors_of_features(tmp_path, kind, labels):
    x = torch.tensor(np.arange(12).reshape(4, 3)).to(kind)
    tensor_files(tmp_path, {"x": x, "y": torch.tensor([1, 0, 1, 2], dtype=labels)})
    data = load("tensors", tmp_path)
    assert torch.equal(data.train.x, x.float())
    assert (data.train.y.tolist(), data.classes) == ([1, 0, 1, 2], 3)
    other = {"x": x + 1, "y": torch.tensor([1, 0, 1, 2], dtype=labels)}
    tensor_files(tmp_path, other)
    assert load("tensors", tmp_path).fingerprint != data.fingerprint


def test_tensors_of_images_and_of_real_targets(tmp_path):
    x = torch.arange(4 * 2 * 3 * 3, dtype=torch.uint8).view(4, 2, 3, 3)
    y = torch.tensor([0.5, 1.0, -2.0, 0.0], dtype=torch.float64)
    tensor_files(tmp_path, {"x": x, "y": y})
    data = load("tensors", tmp_path)
    assert data.input_shape == (2, 3, 3)
    assert data.mean.shape == (2,)
    assert data.classes == 1
    assert torch.equal(data.train.y, y.float()[:, None])


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
def test_labels_saved_as_floats_are_no_regression(tmp_path, kind):
    """A bug: they trained by squared error, and R² was printed as their accuracy."""
    content = {"x": torch.zeros(9, 3), "y": torch.arange(9).to(kind)}
    tensor_files(tmp_path, content)
    said = f"got whole numbers of type {kind} (0, 1, 2, 3, 4, 5, …)"
    refused("tensors", tmp_path, "y in train.safetensors", said, "y.long()", "shape (N, 1)")
    tensor_files(tmp_path, content | {"y": content["y"].long()})
    assert (load("tensors", tmp_path).score, load("tensors", tmp_path).classes) == ("accuracy", 9)
    tensor_files(tmp_path, content | {"y": content["y"][:, None]})
    assert (load("tensors", tmp_path).score, load("tensors", tmp_path).classes) == ("R²", 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"x": torch.zeros(2, 3), "y": torch.tensor([0.5, torch.nan])}, "not finite"),
        ({"x": torch.zeros(2, 3), "y": torch.tensor([1.0, torch.inf])}, "not finite"),
        ({"x": torch.zeros(2, 3), "labels": torch.tensor([0, 1])}, "got labels, x"),
        ({"x": torch.zeros(2, 3), "y": torch.tensor([1, 2])}, "without gaps"),
        ({"x": torch.zeros(2, 3), "y": torch.tensor([0, 1, 1])}, "(2,)"),
        ({"x": torch.zeros(2, 1, 3, 3), "y": torch.tensor([0, 1])}, "uint8 images"),
        ({"x": torch.tensor([[1.0], [torch.inf]]), "y": torch.tensor([0, 1])}, "finite"),
        ({"x": torch.zeros(2, 3), "y": torch.tensor([True, False])}, "torch.bool"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, content, said):
    tensor_files(tmp_path, content)
    refused("tensors", tmp_path, said)
