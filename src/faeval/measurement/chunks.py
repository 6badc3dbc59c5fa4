"""What was measured on consecutive chunks of samples, as one."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def joined(parts: Sequence[T]) -> T:
    """One object from those of consecutive chunks, at least one, all of one dataclass.

    Field by field: tensors (n, …) one behind the other, counts (int) added, dataclasses joined
    in turn; what is neither must be the same in all.
    """
    if len(parts) == 1:
        return parts[0]
    first: Any = parts[0]
    return type(first)(
        **{f.name: _joined([getattr(part, f.name) for part in parts]) for f in fields(first)}
    )


def _joined(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(values)
    if isinstance(first, int):
        return sum(values)
    if is_dataclass(first):
        return joined(values)
    assert all(value == first for value in values)
    return first
