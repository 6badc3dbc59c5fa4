"""Accuracy of class labels, and R² of real targets, summed up batch by batch."""

import pytest
import torch
from sklearn.metrics import r2_score

from faeval.core.random import generator
from faeval.train.loop import Score


def scored(logits, y, size: int) -> float:
    score = Score()
    for start in range(0, len(y), size):
        score.add(logits[start : start + size], y[start : start + size])
    return score.value


@pytest.mark.parametrize("size", [1, 4, 11])
def test_class_labels(size):
    draw = generator(0, "labels")
    logits, y = torch.randn(11, 3, generator=draw), torch.randint(3, (11,), generator=draw)
    expected = sum(int(row.argmax() == label) for row, label in zip(logits, y, strict=True)) / 11
    assert scored(logits, y, size) == pytest.approx(expected)


@pytest.mark.parametrize("size", [1, 4, 11])
@pytest.mark.parametrize("noise", [0.0, 0.3, 5.0])
def test_real_targets(size, noise):
    """All outputs count together, in proportion to their variance."""
    draw = generator(0, "targets")
    y = torch.randn(11, 3, generator=draw) * torch.tensor([0.1, 1.0, 4.0]) + 7
    logits = y + noise * torch.randn(11, 3, generator=draw)
    expected = r2_score(y.double(), logits.double(), multioutput="variance_weighted")
    assert scored(logits, y, size) == pytest.approx(expected, abs=1e-9)
    assert scored(y.mean(0).expand_as(y), y, size) == pytest.approx(0, abs=1e-9)
