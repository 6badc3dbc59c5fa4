"""Readings as rows of a pandas frame."""

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from faeval.core.errors import InputError
from faeval.core.reading import Reading

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingImports]

QUANTILES = ("q05", "q25", "q50", "q75", "q95")


def frame(rows: Iterable[Mapping[str, Any]]) -> "DataFrame":
    """A frame with one row per mapping; InputError where pandas is not installed."""
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise InputError(
            "pandas, for to_frame()", "none installed", "pip install 'faeval[frames]'"
        ) from None
    return pandas.DataFrame(list(rows))


def flat(reading: Reading) -> dict[str, Any]:
    """A reading as one row: its fields by name, those of null, direction and probes as
    `null_std`, quantiles as `cosine_q05`, precisions as `bfloat16_cosine`. What was not taken
    is left out; a frame fills it in as missing where another row has it."""
    row: dict[str, Any] = {}
    for name, value in vars(reading).items():
        if name in ("null", "direction", "probes"):
            row |= {f"{name}_{key}": v for key, v in vars(value).items()} if value else {}
        elif name == "precisions":
            for p in value:
                row |= {f"{p.dtype}_{key}": v for key, v in vars(p).items() if key != "dtype"}
        elif name == "cosine_quantiles":
            row |= {f"cosine_{q}": v for q, v in zip(QUANTILES, value or [None] * 5, strict=True)}
        else:
            row[name] = value
    return row
