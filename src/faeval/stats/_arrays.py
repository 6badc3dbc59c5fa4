"""Plain numbers as float64, and the refusals that every estimate shares."""

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faeval.core.errors import InputError

Values: TypeAlias = Tensor | NDArray[np.floating] | Iterable[float]
Float64: TypeAlias = NDArray[np.float64]


def float64(values: Values) -> Float64:
    """A float64 copy on the CPU, without graph."""
    if isinstance(values, Tensor):
        return values.detach().cpu().to(torch.float64, copy=True).numpy()
    return np.array(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64)


def finite(values: Values, what: str, ndim: int | None = 1) -> Float64:
    """The values as float64; InputError if there are none, or any is not finite."""
    array = float64(values)
    if array.size == 0 or array.ndim == 0 or (ndim is not None and array.ndim != ndim):
        raise InputError(
            f"{what}: at least one" + (f", in {ndim} dimension(s)" if ndim is not None else ""),
            f"shape {array.shape}",
            "pass at least one value",
        )
    if bad := int(np.count_nonzero(~np.isfinite(array))):
        raise InputError(
            f"{what}: finite numbers only",
            f"{bad} of {array.size} NaN or infinite",
            "remove the undefined values and report how many there were",
        )
    return array
