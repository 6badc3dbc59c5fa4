"""Two tasks on scikit-learn's handwritten digits, which come with the installation.

`digits` is the plain task, which random blocks solve nearly as well as trained ones.
`digit-sums` shows two digits and asks for their sum modulo 10: it needs depth.
"""

from pathlib import Path

import torch
from torch import Tensor

from faeval.core.digest import tensor_digest
from faeval.core.random import generator
from faeval.data.base import DATA, Dataset, Source, Split

TRAIN_IMAGES, TRAIN_PAIRS, TEST_PAIRS = 1_437, 8_000, 2_000


def digits(data_dir: Path | None = None) -> Dataset:
    """1,437 training and 360 test images, 64 features in 0…1. `data_dir` is not needed.

    Of the UCI optical digits (Alpaydin & Kaynak 1998, 10.24432/C50P49), as scikit-learn has them.
    """
    return _dataset("digits", *_images())


def digit_sums(data_dir: Path | None = None) -> Dataset:
    """8,000 training and 2,000 test pairs of images, 128 features in 0…1.

    The label is the sum of the two digits modulo 10. Training and test pairs are drawn
    from the disjoint images of `digits`, with replacement. Every trial sees the same
    pairs, whatever its seed. `data_dir` is not needed.
    """
    train, test = _images()
    return _dataset(
        "digit-sums", _sums(train, TRAIN_PAIRS, "train"), _sums(test, TEST_PAIRS, "test")
    )


def _images() -> tuple[Split, Split]:
    """The images of both splits; the file is in order of writers, so the split is drawn."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(pixels).to(torch.float32) / 16
    y = torch.from_numpy(labels).to(torch.int64)
    order = torch.randperm(len(y), generator=generator(0, "digits/split"))
    train, test = order[:TRAIN_IMAGES], order[TRAIN_IMAGES:]
    return Split(x[train], y[train]), Split(x[test], y[test])


def _sums(images: Split, pairs: int, name: str) -> Split:
    draw = generator(0, f"digit-sums/{name}")
    chosen = torch.randint(len(images), (pairs, 2), generator=draw)
    return Split(images.x[chosen].flatten(1), images.y[chosen].sum(1) % 10)


def _dataset(name: str, train: Split, test: Split) -> Dataset:
    content: dict[str, Tensor] = {
        "train.x": train.x, "train.y": train.y, "test.x": test.x, "test.y": test.y,
    }  # fmt: skip
    std, mean = torch.std_mean(train.x, dim=0, correction=0)
    return Dataset(
        name=name,
        train=train,
        test=test,
        classes=10,
        fingerprint=tensor_digest(content),
        mean=mean,
        std=torch.where(std > 0, std, 1.0),  # some corner pixels are never inked
    )


DATA.register("digits")(
    Source("scikit-learn's 8×8 handwritten digits (embedded)", digits, width=128)
)
DATA.register("digit-sums")(
    Source("sum of two digits modulo 10, needs depth (embedded)", digit_sums, width=128)
)
