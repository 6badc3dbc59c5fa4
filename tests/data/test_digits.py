"""The embedded tasks, checked from scikit-learn's pixels."""

import pytest
import torch
from sklearn.datasets import load_digits

from faeval.data import Batches, Dataset, load


@pytest.fixture(scope="module")
def sums() -> Dataset:
    return load("digit-sums")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(scope="module")
def labels_of() -> dict[tuple[int, ...], set[int]]:
    """Pixels, as integers in 0…16, to the labels that scikit-learn gives them."""
    pixels, labels = load_digits(return_X_y=True)
    table: dict[tuple[int, ...], set[int]] = {}
    for image, label in zip(pixels.astype(int).tolist(), labels.tolist(), strict=True):
        table.setdefault(tuple(image), set()).add(label)
    return table


def images(x: torch.Tensor) -> list[tuple[int, ...]]:
    return [tuple(image) for image in (x.view(-1, 64) * 16).to(torch.int64).tolist()]


def test_digits_are_all_of_scikit_learn_in_two_disjoint_parts(digits, labels_of):
    assert (len(digits.train), len(digits.test)) == (1_437, 360)
    assert digits.input_shape == (64,)
    train, test = images(digits.train.x), images(digits.test.x)
    assert not set(train) & set(test)
    assert sorted(train + test) == sorted(
        tuple(image) for image in load_digits().data.astype(int).tolist()
    )
    labels = digits.train.y.tolist() + digits.test.y.tolist()
    assert all(
        labels_of[image] == {label} for image, label in zip(train + test, labels, strict=True)
    )


def test_every_label_is_the_sum_of_the_two_digits_modulo_ten(sums, labels_of):
    for split in (sums.train, sums.test):
        seen = images(split.x)
        for first, second, label in zip(seen[::2], seen[1::2], split.y.tolist(), strict=True):
            (a,), (b,) = labels_of[first], labels_of[second]
            assert label == (a + b) % 10


def test_pairs_come_from_the_disjoint_images_of_digits(sums, digits):
    assert (len(sums.train), len(sums.test)) == (8_000, 2_000)
    assert sums.input_shape == (128,)
    for part in ("train", "test"):
        of_pairs = set(images(getattr(sums, part).x))
        assert of_pairs <= set(images(getattr(digits, part).x))
        assert len(of_pairs) > 0.99 * len(getattr(digits, part))


@pytest.mark.parametrize("name", ["digits", "digit-sums"])
def test_data_are_the_same_each_time_and_standardised(name):
    torch.manual_seed(1)
    first = load(name)
    torch.manual_seed(2)
    second = load(name)
    assert first.name == name
    assert first.fingerprint == second.fingerprint
    assert torch.equal(first.train.x, second.train.x)
    assert (first.classes, first.crop_padding, first.flip) == (10, 0, False)
    x = torch.cat([batch for batch, _ in Batches(first, first.train).evaluate(512)])
    spread = x.std(0, correction=0)
    torch.testing.assert_close(x.mean(0), torch.zeros(x.shape[1]), atol=1e-5, rtol=0)
    assert torch.all(((spread - 1).abs() < 1e-4) | (spread == 0))


def test_classes_are_nearly_balanced(sums):
    counts = torch.bincount(sums.train.y, minlength=10)
    assert 650 < counts.min() < counts.max() < 950
