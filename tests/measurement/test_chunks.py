"""Chunks put together again: tensors behind each other, counts added."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from faeval.measurement.chunks import joined


@dataclass(frozen=True, eq=False)
class Inner:
    rows: Tensor
    lost: int


@dataclass(frozen=True, eq=False)
class Outer:
    name: str
    inner: Inner
    other: Inner | None
    values: Tensor


def part(start: int, stop: int, name: str = "float32") -> Outer:
    rows = torch.arange(start, stop)
    return Outer(name, Inner(rows[:, None], stop - start), None, rows * 2)


def test_chunks_are_joined_field_by_field():
    whole, parts = part(0, 10), joined([part(0, 3), part(3, 4), part(4, 10)])
    assert (parts.name, parts.other, parts.inner.lost) == ("float32", None, 10)
    assert torch.equal(parts.inner.rows, whole.inner.rows)
    assert torch.equal(parts.values, whole.values)
    assert joined([whole]) is whole


def test_chunks_of_different_things_are_not_joined():
    with pytest.raises(AssertionError):
        joined([part(0, 3), part(3, 5, name="float16")])
