"""Labels that say nothing: the control data sets."""

import pytest
import torch

from faeval.core.random import generator
from faeval.data import Split
from faeval.data.labels import relabelled

SAMPLES, CLASSES = 20_000, 5


def split() -> Split:
    draw = generator(0, "samples")
    x = torch.randn(SAMPLES, 3, generator=draw)
    return Split(x, (torch.rand(SAMPLES, generator=draw) ** 2 * CLASSES).long())


def test_true_labels_are_left_alone():
    whole = split()
    assert relabelled(whole, "true", CLASSES, generator(1, "labels")) is whole


def test_permuted_labels_keep_their_counts_and_lose_their_samples():
    whole = split()
    drawn = relabelled(whole, "permuted", CLASSES, generator(1, "labels"))
    assert drawn.x is whole.x
    assert torch.equal(drawn.y.bincount(), whole.y.bincount())
    by_chance = (whole.y.bincount() / SAMPLES).square().sum().item()
    assert (drawn.y == whole.y).double().mean().item() == pytest.approx(by_chance, abs=0.015)


def test_random_labels_are_uniform_whatever_the_true_ones():
    drawn = relabelled(split(), "random", CLASSES, generator(1, "labels"))
    share = drawn.y.bincount(minlength=CLASSES) / SAMPLES
    assert (share - 1 / CLASSES).abs().max() < 5 * (0.16 / SAMPLES) ** 0.5
    assert (drawn.y == split().y).double().mean().item() == pytest.approx(1 / CLASSES, abs=0.015)


@pytest.mark.parametrize("labels", ["permuted", "random"])
def test_the_generator_decides(labels):
    one, same, other = (
        relabelled(split(), labels, CLASSES, generator(seed, "labels")).y for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(relabelled(split(), "true", CLASSES, generator(1, "labels")).y, split().y)
