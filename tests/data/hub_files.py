"""Small parquet files in the hub's layout, written by the tests that read them."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from faeval.data import HubImages

TINY = HubImages(
    name="tiny", repo="nobody/tiny", config="plain_text", classes=3, shape=(3, 8, 6),
    crop_padding=2, flip=True,
)  # fmt: skip


def random_images(count: int, seed: int = 0, shape: tuple[int, ...] = (8, 6, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def encode(image: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def write(
    file: Path, encoded: list, labels: list, image: str = "img", label: str = "label", **options
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": data, "path": None} for data in encoded]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({image: pa.array(rows, kind), label: pa.array(labels)})
    pq.write_table(table, file, **options)


def write_tiny(folder: Path, train: int = 7, test: int = 3) -> dict[str, np.ndarray]:
    """Whole `tiny` data in `folder`; labels count 0, 1, 2, 0, …"""
    images = {"train": random_images(train, 1), "test": random_images(test, 2)}
    for split, pixels in images.items():
        labels = [row % 3 for row in range(len(pixels))]
        write(folder / f"{split}-00000-of-00001.parquet", [encode(one) for one in pixels], labels)
    return images
