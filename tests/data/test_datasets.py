"""The registry of data sets, what a data set refuses, and the real CIFAR-10."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from faeval.core.errors import InputError
from faeval.data import DATA, Batches, Dataset, Split, load

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def split(samples: int = 4, features: int = 3) -> Split:
    return Split(torch.zeros(samples, features), torch.arange(samples))


def dataset(**changes) -> Dataset:
    fields = {
        "name": "toy", "train": split(), "test": split(), "classes": 4, "fingerprint": "0" * 16,
        "mean": torch.zeros(3), "std": torch.ones(3),
    }  # fmt: skip
    return Dataset(**(fields | changes))


def test_the_registry_knows_the_built_in_sets_and_suggests():
    assert {"cifar10", "digit-sums", "digits"} <= set(DATA)
    assert all(source.description for _, source in DATA.items())
    with pytest.raises(InputError, match="did you mean 'digit-sums'"):
        load("digit-sum")


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 3, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 3), torch.zeros(2)),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)),
        (torch.tensor(0.0), torch.zeros(0, dtype=torch.int64)),
    ],
)
def test_a_split_refuses_other_types_and_shapes(x, y):
    with pytest.raises(InputError):
        Split(x, y)


def test_a_data_set_refuses_labels_and_splits_that_do_not_fit():
    assert dataset().input_shape == (3,)
    with pytest.raises(InputError, match="training labels of 'toy' in 0…2, got 0…3"):
        dataset(classes=3)
    with pytest.raises(InputError, match="test samples like"):
        dataset(test=split(features=2))


def test_importing_is_cheap():
    heavy = "{'pyarrow', 'PIL', 'sklearn', 'datasets', 'huggingface_hub', 'scipy'}"
    code = f"import sys, faeval.data; found = {heavy} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(
    not (REAL / "cifar10-train.parquet").is_file(),
    reason="the real CIFAR-10 is not beside the repository, in ../shared/data",
)
@pytest.mark.slow
def test_real_cifar10():
    data = load("cifar10", REAL)
    assert (len(data.train), len(data.test)) == (50_000, 10_000)
    assert data.input_shape == (3, 32, 32)
    assert torch.bincount(data.train.y).tolist() == [5_000] * 10
    assert torch.bincount(data.test.y).tolist() == [1_000] * 10
    expected = torch.tensor([0.4914, 0.4822, 0.4465])
    torch.testing.assert_close(data.mean, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(data.std, torch.tensor([0.2470, 0.2435, 0.2616]), atol=3e-3, rtol=0)
    x, _ = next(Batches(data, data.train).epoch(4_096, torch.Generator().manual_seed(0)))
    assert x.mean().abs() < 0.05
    assert abs(x.std() - 1) < 0.05
