"""Decoded data kept in the user's cache folder, and the hashes that guard them.

The folder is `platformdirs.user_cache_dir("faeval")`, or the variable FAEVAL_CACHE.
Nothing here is needed for a right result: every failure ends in decoding again.
"""

import hashlib
import json
import os
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from faeval.core.digest import tensor_digest

_FORMAT = 1


def cached(key: str, build: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors kept under `key`, or those of `build()`, which are then kept.

    `key` must name the content of the source. A damaged file is built anew. Processes
    that build at once each put a whole file in place, so whichever is last wins. Where
    the folder cannot be written, a warning says so and the tensors are returned all the same.
    """
    folder = cache_folder()
    path = folder / f"{key}.safetensors"
    found = _read(path)
    if found is not None:
        return found
    tensors = build()
    try:
        _write(path, tensors)
    except OSError as error:
        warnings.warn(
            f"cannot keep decoded data in {str(folder)!r} ({error.strerror or error}): they are "
            "decoded anew on every run; set FAEVAL_CACHE to a folder that can be written",
            stacklevel=2,
        )
    return tensors


def cache_folder() -> Path:
    """Where decoded data are kept; it need not exist."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("FAEVAL_CACHE") or user_cache_dir("faeval")).expanduser()


def file_digest(splits: Mapping[str, Sequence[Path]]) -> str:
    """16 hexadecimal characters from the bytes of the files of each split, in order.

    Names and times of the files do not count. Raises OSError where one cannot be read.
    """
    total = hashlib.blake2b(digest_size=8)
    for split, files in sorted(splits.items()):
        total.update(f"{split};".encode())
        for file in files:
            with file.open("rb") as stream:
                total.update(hashlib.file_digest(stream, hashlib.blake2b).digest())
    return total.hexdigest()


def _read(path: Path) -> dict[str, Tensor] | None:
    """The tensors in `path` if it is whole: safetensors checks lengths, the digest the rest."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("faeval", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError):
        return None
    return tensors if about == _about(tensors) else None


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        save_file(tensors, draft, {"faeval": json.dumps(_about(tensors))})
        os.replace(draft, path)
    except SafetensorError as error:  # its form of a full disk or a forbidden folder
        raise OSError(str(error)) from error
    finally:
        draft.unlink(missing_ok=True)


def _about(tensors: dict[str, Tensor]) -> dict[str, int | str]:
    return {"format": _FORMAT, "digest": tensor_digest(tensors)}
