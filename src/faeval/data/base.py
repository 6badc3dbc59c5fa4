"""What a data set is, and the registry of the sources that supply one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.core.registry import Registry


@dataclass(frozen=True, eq=False)
class Split:
    """Samples with their labels, on the CPU; to be read, never written.

    x: images, uint8 (N, C, H, W), or features, float32 (N, D).
    y: class labels, int64 (N,).
    Raises InputError for another type or shape, or where there is no sample.
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        forms = {(torch.uint8, 4), (torch.float32, 2)}
        samples = len(self.x) if self.x.ndim else 0
        if (self.x.dtype, self.x.ndim) not in forms or samples == 0:
            raise InputError(
                "uint8 images (N, C, H, W) or float32 features (N, D), N > 0",
                f"{self.x.dtype} {tuple(self.x.shape)}",
                "convert them in the data set's source",
            )
        if self.y.dtype != torch.int64 or self.y.shape != (samples,):
            raise InputError(
                f"int64 labels ({samples},)",
                f"{self.y.dtype} {tuple(self.y.shape)}",
                "convert them in the data set's source",
            )

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """A classification task: two splits, and how its samples enter a network.

    fingerprint: 16 hexadecimal characters, a hash of the source's content.
    mean, std: of the training split; for images per channel, (C,), in units of x/255;
        for features in their own unit, anything that broadcasts against (N, D).
    crop_padding, flip: augmentation in training: black pixels added on every side before
        a random crop back to (H, W), and whether to mirror left and right at random.
    Raises InputError for labels outside 0 … classes−1 and for splits of unlike shape.
    """

    name: str
    train: Split
    test: Split
    classes: int
    fingerprint: str
    mean: Tensor
    std: Tensor
    crop_padding: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        for title, split in (("training", self.train), ("test", self.test)):
            low, high = int(split.y.min()), int(split.y.max())
            if low < 0 or high >= self.classes:
                raise InputError(
                    f"{title} labels of {self.name!r} in 0…{self.classes - 1}",
                    f"{low}…{high}",
                    "mend the labels or the source's number of classes",
                )
        if self.test.x.shape[1:] != self.input_shape or self.test.x.dtype != self.train.x.dtype:
            raise InputError(
                f"test samples like the training samples of {self.name!r}, {self.input_shape}",
                f"{tuple(self.test.x.shape[1:])}",
                "bring both splits to one shape and type in the source",
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (C, H, W) or (D,)."""
        return tuple(self.train.x.shape[1:])


@dataclass(frozen=True)
class Source:
    """Something that supplies a data set.

    `load(data_dir)` reads it from the folder `data_dir`; with None it looks where it
    finds the data by itself. A source that brings its data along needs no folder.
    width is that of the networks in the reference runs on these data, where there are any.
    """

    description: str
    load: Callable[[Path | None], Dataset]
    width: int = 256


DATA: Registry[Source] = Registry("data set")


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """The data set registered under `name`, read from `data_dir` where it needs files.

    Raises InputError for an unknown name and for data that are absent or damaged.
    """
    return DATA[name].load(None if data_dir is None else Path(data_dir).expanduser())
