"""Data of one's own, from a folder: `parquet` files, or `tensors` in safetensors files.

Nothing is declared: shapes and the number of classes are found in the files, and every class
0 … C−1 must occur in the training split. There is no augmentation; for that, register a
`HubImages` with its crop and flip in `DATA`.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from faeval.core.digest import tensor_digest
from faeval.core.errors import InputError
from faeval.data.base import DATA, Dataset, Source, Split
from faeval.data.hub_images import HubImages, moments
from faeval.data.parquet import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    SPLITS,
    find_files,
    one_of,
    opened,
)

if TYPE_CHECKING:
    import pyarrow as pa

GREY = ("1", "L", "I", "I;16", "F")  # Pillow's modes of one channel


def own_parquet(data_dir: Path | None = None) -> Dataset:
    """The train and test parquet files in `data_dir`, named as the hub names them (see
    `find_files`; also in its subfolder `data`).

    Either encoded images, all of one size, in a column `img` or `image`, or features: every
    column but the label's, numbers or lists of numbers, in the order of the training file.
    Labels are integers in a column `label` or `fine_label`.
    """
    folder = _folder(data_dir, "train and test parquet files")
    name = folder.resolve().name
    files = find_files(folder, name, "data")
    first = files["train"][0]
    with opened(first) as file:
        columns = file.schema_arrow.names
    label, images = one_of(LABEL_COLUMNS, columns), one_of(IMAGE_COLUMNS, columns)
    if label is None:
        raise InputError(
            f"a column of labels ({' or '.join(LABEL_COLUMNS)}) in {first.name}",
            ", ".join(columns) or "no column",
            "rename the column that holds them",
        )
    if images is None:
        train, test = (_features(files[split], label, columns) for split in SPLITS)
        return _dataset(name, train, test)
    classes = _classes(torch.cat([_labels(file, label) for file in files["train"]]))
    return HubImages(
        name, "", "data", classes, _image_shape(first, images), crop_padding=0, flip=False
    ).load(folder)


def own_tensors(data_dir: Path | None = None) -> Dataset:
    """`train.safetensors` and `test.safetensors` in `data_dir`, each with tensors x and y.

    x: images, uint8 (N, C, H, W), or features of any float type (N, D), held as float32.
    y: integer labels (N,), or real targets of any float type, (N, C) or (N,). Whole numbers
        (N,) of a float type are refused: they may be labels, or counts.
    """
    folder = _folder(data_dir, "train.safetensors and test.safetensors")
    train, test = (_read(folder / f"{split}.safetensors") for split in SPLITS)
    return _dataset(folder.resolve().name, train, test)


def _folder(data_dir: Path | None, content: str) -> Path:
    if data_dir is None or not data_dir.is_dir():
        got = "none" if data_dir is None else f"{str(data_dir)!r}, which is not a folder"
        raise InputError(f"a folder with {content}", got, "name it with --data-dir DIR")
    return data_dir


def _classes(y: Tensor) -> int:
    """C of training labels that are exactly 0 … C−1."""
    found = y.unique()
    if not torch.equal(found, torch.arange(len(found))):
        some = ", ".join(str(int(label)) for label in found[:6])
        raise InputError(
            f"training labels 0…{len(found) - 1} ({len(found)} classes, each with a sample)",
            some + (", …" if len(found) > 6 else ""),
            "number the classes from 0 without gaps",
        )
    return len(found)


def _dataset(name: str, train: Split, test: Split) -> Dataset:
    content = {"train.x": train.x, "train.y": train.y, "test.x": test.x, "test.y": test.y}
    if train.x.dtype == torch.uint8:
        mean, std = moments(train.x)
    else:
        std, mean = torch.std_mean(train.x, dim=0, correction=0)
        std = torch.where(std > 0, std, 1.0)
    real = train.y.is_floating_point()
    return Dataset(
        name=name,
        train=train,
        test=test,
        classes=train.y.shape[1] if real else _classes(train.y),
        fingerprint=tensor_digest(content),
        mean=mean,
        std=std,
    )


def _read(path: Path) -> Split:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"a whole file {path.name} with the tensors x and y",
            f"{str(path)!r}, which cannot be read ({' '.join(str(error).split())})",
            "write it with safetensors.torch.save_file",
        ) from error
    if not {"x", "y"} <= set(found):
        raise InputError(
            f"the tensors x and y in {path.name}",
            ", ".join(sorted(found)) or "no tensor",
            "name the samples x and their labels y",
        )
    x, y = found["x"], found["y"]
    if x.is_floating_point():
        x = _finite(x.float(), f"x of {path.name}")
    if y.is_floating_point():
        y = _column(y, path.name) if y.ndim == 1 else y.float()
    elif y.dtype != torch.bool:
        y = y.long()
    return Split(x, y)


def _column(y: Tensor, file: str) -> Tensor:
    """Real targets (N,) as (N, 1); not labels that were saved as floats, which would become a
    regression."""
    if bool((y % 1 == 0).all()):
        some = ", ".join(f"{value:g}" for value in y.unique()[:6].tolist())
        raise InputError(
            f"integer labels or real targets y in {file}",
            f"whole numbers of type {y.dtype} ({some}{', …' if len(y.unique()) > 6 else ''})",
            "save y.long() for classes, or y of shape (N, 1) for a regression on counts",
        )
    return y.float().unsqueeze(-1)


def _finite(x: Tensor, where: str) -> Tensor:
    if not bool(x.isfinite().all()):
        raise InputError(f"finite numbers in {where}", "nan or infinity", "mend or drop these rows")
    return x


def _image_shape(file: Path, column: str) -> tuple[int, int, int]:
    """(C, H, W) of the first image: C = 1 for grey ones, else 3."""
    from PIL import Image

    with opened(file) as parquet:
        first = next(parquet.iter_batches(1, columns=[column]))[column][0].as_py()
    try:
        with Image.open(io.BytesIO(first["bytes"])) as image:
            return 1 if image.mode in GREY else 3, image.height, image.width
    except Exception as error:  # damaged bytes raise nearly anything in Pillow's readers
        raise InputError(
            f"an encoded image (struct with bytes) in the first row of {column!r}",
            f"none that can be read in {file.name}",
            "mend the row, or rename the column if it holds features",
        ) from error


def _labels(file: Path, name: str) -> Tensor:
    import pyarrow as pa

    with opened(file) as parquet:
        column = parquet.read([name])[name]
    if not pa.types.is_integer(column.type) or column.null_count:
        raise InputError(
            f"integer labels in column {name!r} of {file.name}",
            f"{column.type}" + (" with empty rows" if column.null_count else ""),
            "number the classes from 0",
        )
    return torch.tensor(column.to_pylist(), dtype=torch.int64)


def _features(files: list[Path], label: str, order: list[str]) -> Split:
    rows: list[Tensor] = []
    for file in files:
        with opened(file) as parquet:
            table = parquet.read()
        if sorted(table.column_names) != sorted(order) or order == [label]:
            raise InputError(
                f"the columns {', '.join(order)}, features and a label, in {file.name}",
                ", ".join(table.column_names),
                "bring all files to the same columns",
            )
        columns = [_numbers(table[name], name, file) for name in order if name != label]
        rows.append(torch.cat(columns, dim=1))
    return Split(torch.cat(rows), torch.cat([_labels(file, label) for file in files]))


def _numbers(column: "pa.ChunkedArray", name: str, file: Path) -> Tensor:
    """A column as float32 (N, D): D = 1 for numbers, the common length for lists."""
    where = f"column {name!r} of {file.name}"
    try:
        x = torch.tensor(column.to_pylist(), dtype=torch.float32).reshape(len(column), -1)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"numbers, or lists of numbers of one length, in {where}",
            f"{column.type} ({' '.join(str(error).split())})",
            "fill, drop or convert the column",
        ) from error
    return _finite(x, where)


DATA.register("parquet")(
    Source("your own images or features: parquet files in --data-dir DIR", own_parquet)
)
DATA.register("tensors")(
    Source("your own x and y: safetensors files in --data-dir DIR", own_tensors)
)
