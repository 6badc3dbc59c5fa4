"""Atomic files: a reader sees the old file or the new one, never half of either."""

import json
import os
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from faeval.core.digest import tensor_digest
from faeval.core.errors import InputError

# With several metadata keys a safetensors file is not byte-stable: one key, holding JSON.
_META = "faeval"


def write_bytes(path: Path, content: bytes) -> None:
    """Write `path` under a temporary name beside it, then rename; survives a loss of power."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; a NaN or infinity raises ValueError."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The content of a JSON file; InputError if it is missing or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"a file {path.name} in {path.parent}",
            f"none that can be read ({error.strerror})",
            "check the folder",
        ) from None
    except ValueError:
        raise InputError(
            f"JSON in {path}", "something else", "restore the file, or delete it to start anew"
        ) from None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able metadata as one safetensors file, the same bytes each time."""
    flat = {name: t.detach().cpu().contiguous() for name, t in sorted(tensors.items())}
    note = json.dumps({"digest": tensor_digest(flat), **meta}, sort_keys=True, allow_nan=False)
    write_bytes(path, save(flat, metadata={_META: note}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a file from `write_tensors`; InputError if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})[_META])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if meta.pop("digest") != tensor_digest(tensors):
            raise ValueError("the content does not match its digest")
    except OSError as error:
        raise _no_checkpoint(path, error.strerror or "no such file") from None
    except (SafetensorError, KeyError, ValueError, AttributeError):
        raise _no_checkpoint(path, "a corrupted file") from None
    return tensors, meta


def _no_checkpoint(path: Path, cause: str) -> InputError:
    return InputError(
        f"a faeval checkpoint at {path}", cause, "delete the trial's folder to train it again"
    )


def make_folder(folder: Path) -> None:
    """Create `folder` and see that it can be written; InputError if it cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            "a folder that can be written",
            f"{folder} ({error.strerror or error})",
            "choose another with --out DIR",
        ) from None
