"""Generated data: deterministic, balanced, with the answers they claim; real targets."""

import pytest
import torch
from test_datasets import dataset

from faeval.core.errors import InputError
from faeval.data import Batches, Split, linear_quadratic, load, teacher_student
from faeval.data.labels import relabelled


@pytest.mark.parametrize("name", ["teacher-student", "linear-quadratic"])
def test_generated_samples_are_the_same_every_time(name):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again = load(name), load(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.fingerprint == again.fingerprint
    assert torch.equal(first.train.y, again.train.y)
    assert not torch.equal(first.train.x[:100], first.test.x[:100])
    for split in (first.train, first.test):
        count = split.x.numel()
        assert abs(split.x.mean().item()) < 5 / count**0.5
        assert abs(split.x.var().item() - 1) < 5 * (2 / count) ** 0.5


def test_the_teacher_is_balanced_and_no_linear_map_guesses_it():
    data = teacher_student()
    share = torch.bincount(data.train.y, minlength=10) / len(data.train)
    assert share.min() > 0.07
    assert share.max() < 0.14
    onehot = torch.nn.functional.one_hot(data.train.y, 10).float()
    x, test = (torch.cat([s.x, torch.ones(len(s), 1)], 1) for s in (data.train, data.test))
    guess = (test @ torch.linalg.lstsq(x, onehot).solution).argmax(1)
    assert (guess == data.test.y).float().mean() < 0.16
    # But near samples have like labels: there is something to learn.
    near = torch.cdist(data.test.x[:500], data.train.x).argmin(1)
    assert (data.train.y[near] == data.test.y[:500]).float().mean() > 0.3


def test_linear_quadratic_targets_are_one_well_conditioned_map():
    data = linear_quadratic()
    M = torch.linalg.lstsq(data.train.x.double(), data.train.y.double()).solution
    noise = data.test.y.double() - data.test.x.double() @ M
    assert noise.std().item() == pytest.approx(0.1, rel=0.02)
    assert 1 - noise.var() / data.test.y.double().var() == pytest.approx(0.996, abs=1e-3)
    assert torch.linalg.cond(M) < 1e3
    assert torch.linalg.det(M) > 0  # within reach of products of I + W near the identity
    assert data.classes == data.test.y.shape[1]


def test_real_targets_pass_through_batches_and_permutation():
    y = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    split = Split(torch.arange(18.0).view(6, 3), y)
    data = dataset(train=split, test=split, classes=2)
    x, found = next(Batches(data, split).epoch(6, torch.Generator().manual_seed(1)))
    order = (x[:, 0] / 3).round().long()
    assert torch.equal(found, y[order])
    permuted = relabelled(split, "permuted", 2, torch.Generator().manual_seed(0))
    assert torch.equal(permuted.y.sort(0).values, y.sort(0).values)


@pytest.mark.parametrize(
    ("y", "classes", "said"),
    [
        (torch.eye(4)[:, :3], 2, "3 per sample"),
        (torch.tensor([[0.0], [1.0], [torch.nan], [0.0]]), 1, "not finite"),
        (torch.ones(4, 2), 2, "the same for every sample"),
    ],
)
def test_real_targets_that_cannot_be_scored_are_refused(y, classes, said):
    split = Split(torch.zeros(4, 3), y)
    with pytest.raises(InputError, match=said):
        dataset(train=split, test=split, classes=classes)


def test_labels_in_one_split_and_targets_in_the_other_are_refused():
    with pytest.raises(InputError, match="labels or real targets in both splits"):
        dataset(test=Split(torch.zeros(4, 3), torch.eye(4)))


def test_a_data_set_says_what_it_holds():
    assert linear_quadratic().summary == "4,000 + 1,000 samples of features 32, 32 real targets"
    images = Split(torch.zeros(3, 1, 8, 6, dtype=torch.uint8), torch.arange(3))
    assert dataset(train=images, test=images).summary == "3 + 3 images 1×8×6, 4 classes"
