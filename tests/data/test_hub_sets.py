"""The built-in sets of images, each from small files in its repository's layout."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hub_files import encode, random_images

from faeval.core.errors import InputError
from faeval.data import load

# Name: folder in the repository, image column, label columns, classes, shape of an image.
LAYOUTS = {
    "cifar10": ("plain_text", "img", ["label"], 10, (32, 32, 3)),
    "cifar100": ("cifar100", "img", ["fine_label", "coarse_label"], 100, (32, 32, 3)),
    "mnist": ("mnist", "image", ["label"], 10, (28, 28)),
    "fashion-mnist": ("fashion_mnist", "image", ["label"], 10, (28, 28)),
    "svhn": ("cropped_digits", "image", ["label"], 10, (32, 32, 3)),
}


def lay_out(folder, name, splits=("train", "test")) -> dict:
    """Files as the hub has them; returns images and first labels of each split."""
    config, image, labels, classes, shape = LAYOUTS[name]
    written = {}
    (folder / config).mkdir()
    for seed, split in enumerate(splits):
        pixels = random_images(4, seed, shape)
        first = [0, 1, classes - 1, 2]
        encoded = [{"bytes": encode(one), "path": None} for one in pixels]
        columns = {
            image: pa.array(encoded, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        }
        columns |= {
            label: [n // 5 for n in first] if n else first for n, label in enumerate(labels)
        }
        pq.write_table(pa.table(columns), folder / config / f"{split}-00000-of-00001.parquet")
        written[split] = pixels, first
    return written


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_columns_labels_and_shapes_are_found(tmp_path, name):
    written = lay_out(tmp_path, name)
    data, classes = load(name, tmp_path), LAYOUTS[name][3]
    assert data.classes == classes
    for split, found in (("train", data.train), ("test", data.test)):
        pixels, labels = written[split]
        channels = pixels[..., None] if pixels.ndim == 3 else pixels
        expected = torch.from_numpy(np.ascontiguousarray(channels.transpose(0, 3, 1, 2)))
        assert torch.equal(found.x, expected)
        assert found.y.tolist() == labels


@pytest.mark.parametrize(("name", "mirrored"), [("mnist", False), ("svhn", False)])
def test_digits_are_never_mirrored(tmp_path, name, mirrored):
    lay_out(tmp_path, name)
    data = load(name, tmp_path)
    assert data.flip == mirrored
    assert data.crop_padding > 0


def test_the_extra_split_of_svhn_is_left_alone(tmp_path):
    lay_out(tmp_path, "svhn", splits=("extra", "train", "test"))
    assert len(load("svhn", tmp_path).train) == 4


def test_files_of_another_set_are_refused(tmp_path):
    """CIFAR-100 in the place of CIFAR-10: the labels tell."""
    lay_out(tmp_path, "cifar100")
    (tmp_path / "cifar100").rename(tmp_path / "plain_text")
    with pytest.raises(InputError, match=r"labels in 0…9, got 99 in row 2"):
        load("cifar10", tmp_path)
