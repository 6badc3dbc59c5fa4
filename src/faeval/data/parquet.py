"""Images with labels from parquet files as the Hugging Face hub lays them out."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.data.base import Split

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label")
SPLITS = ("train", "test")


def find_files(folder: Path, name: str, config: str) -> dict[str, list[Path]]:
    """The files of each split: in `folder` itself, or below `config`, `name`, `name/config`.

    Accepts `train-00000-of-00002.parquet` and so on, `train.parquet`,
    `NAME-train.parquet` and `train/0000.parquet`. Both splits come from one place.
    Raises InputError where the folder or a split is missing, where shards are missing,
    and where files of several namings would count twice.
    """
    if not folder.is_dir():
        raise InputError(
            f"a folder with the parquet files of {name!r}",
            f"{str(folder)!r}, which is not a folder",
            "name the right one with --data-dir DIR",
        )
    places = [folder, folder / config, folder / name, folder / name / config]
    found = [{split: _shards(place, name, split) for split in SPLITS} for place in places]
    best = next((files for files in found if any(files.values())), found[0])
    for split, files in best.items():
        if not files:
            raise InputError(
                f"parquet files of the {split} split of {name!r} ({split}-00000-of-00001.parquet, "
                f"{name}-{split}.parquet)",
                f"none in {str(folder)!r}",
                "put them there or name another folder with --data-dir DIR",
            )
    return best


def _shards(place: Path, name: str, split: str) -> list[Path]:
    numbered = sorted(place.glob(f"{split}-[0-9]*-of-[0-9]*.parquet"))
    namings = [
        numbered,
        sorted(place.glob(f"{split}/[0-9]*.parquet")),
        [file for file in (place / f"{split}.parquet",) if file.is_file()],
        [file for file in (place / f"{name}-{split}.parquet",) if file.is_file()],
    ]
    namings = [files for files in namings if files]
    if len(namings) > 1:
        raise InputError(
            f"one set of {split} files in {str(place)!r}",
            " and ".join(files[0].name for files in namings),
            "remove the files that are copies",
        )
    count = len(numbered)
    whole = [f"{split}-{part:05d}-of-{count:05d}.parquet" for part in range(count)]
    if [file.name for file in numbered] != whole:
        raise InputError(
            f"every shard of the {split} split in {str(place)!r}",
            ", ".join(file.name for file in numbered),
            "fetch the missing ones, remove those of another version",
        )
    return namings[0] if namings else []


def read_split(files: Sequence[Path], shape: tuple[int, int, int], classes: int) -> Split:
    """Decode all rows of `files`, in their order, to uint8 (N, C, H, W) with shape (C, H, W).

    Any format that Pillow reads is taken and brought to RGB (C = 3) or grey (C = 1).
    Raises InputError, naming file and row, for files, columns, labels or images that are
    not as expected.
    """
    pixels: list[bytes] = []
    labels: list[Tensor] = []
    for file in files:
        images, column = _columns(file)
        labels.append(_labels(column, classes, file))
        pixels += _decode(images, shape, file)
    if not pixels:
        raise InputError(
            "at least one row in a split", f"none in {files[0].name}", "fetch the file again"
        )
    channels, height, width = shape
    x = torch.frombuffer(bytearray().join(pixels), dtype=torch.uint8)
    x = x.view(-1, height, width, channels).permute(0, 3, 1, 2).contiguous()
    return Split(x, torch.cat(labels))


@contextmanager
def opened(file: Path) -> "Iterator[pyarrow.parquet.ParquetFile]":
    """A parquet file to read from; InputError where it is absent or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            yield parquet
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            "a whole parquet file",
            f"{file.name}, which cannot be read ({' '.join(str(error).split())})",
            "fetch it again",
        ) from error


def one_of(candidates: Sequence[str], columns: Sequence[str]) -> str | None:
    """The first of the candidates that is a column."""
    return next((name for name in candidates if name in columns), None)


def _columns(file: Path) -> "tuple[list[bytes | None], pyarrow.ChunkedArray]":
    """The encoded images and the labels of one file."""
    import pyarrow as pa

    with opened(file) as parquet:
        schema = parquet.schema_arrow
        image, label = (one_of(names, schema.names) for names in (IMAGE_COLUMNS, LABEL_COLUMNS))
        fits = (
            image is not None
            and label is not None
            and pa.types.is_struct(schema.field(image).type)
            and schema.field(image).type.get_field_index("bytes") >= 0
            and pa.types.is_integer(schema.field(label).type)
        )
        if not fits:
            listing = ", ".join(f"{field.name}: {field.type}" for field in schema)
            raise InputError(
                f"an image column ({' or '.join(IMAGE_COLUMNS)}: struct with bytes) and a "
                f"label column ({' or '.join(LABEL_COLUMNS)}: integer) in {file.name}",
                listing or "no column",
                "rename the columns or name another folder with --data-dir DIR",
            )
        table = parquet.read(columns=[f"{image}.bytes", label])
    return table.flatten()[f"{image}.bytes"].to_pylist(), table[label]


def _labels(column: "pyarrow.ChunkedArray", classes: int, file: Path) -> Tensor:
    labels = column.to_pylist()
    for row, label in enumerate(labels):
        if label is None or not 0 <= label < classes:
            raise InputError(
                f"labels in 0…{classes - 1}",
                f"{label} in row {row} of {file.name}",
                "check that this is the right data set",
            )
    return torch.tensor(labels, dtype=torch.int64)


def _decode(images: Sequence[bytes | None], shape: tuple[int, int, int], file: Path) -> list[bytes]:
    """Raw pixels (H, W, C) of every image.

    One thread: on images this small Pillow spends its time in Python, holding the
    interpreter's lock, and two threads measured no faster.
    """
    from PIL import Image

    channels, height, width = shape
    mode = {1: "L", 3: "RGB"}[channels]
    pixels = []
    for row, data in enumerate(images):
        try:
            if data is None:
                raise ValueError("no bytes")
            with Image.open(io.BytesIO(data)) as image:
                if image.size != (width, height):
                    raise ValueError(f"{image.width}×{image.height} pixels")
                right = image if image.mode == mode else image.convert(mode)
                pixels.append(right.tobytes())
        except Exception as error:  # damaged bytes raise nearly anything in Pillow's readers
            raise InputError(
                f"an image of {width}×{height} pixels",
                f"{' '.join(str(error).split())} in row {row} of {file.name}",
                "fetch the file again or mend the row",
            ) from error
    return pixels
