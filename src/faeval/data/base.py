"""What a data set is, and the registry of the sources that supply one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.core.registry import Registry
from faeval.core.score import Score


@dataclass(frozen=True, eq=False)
class Split:
    """Samples with their labels, on the CPU; to be read, never written.

    x: images, uint8 (N, C, H, W), or features, float32 (N, D).
    y: class labels, int64 (N,), or real targets, float32 (N, C).
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
        labels = self.y.dtype == torch.int64 and self.y.shape == (samples,)
        targets = self.y.dtype == torch.float32 and self.y.ndim == 2 and len(self.y) == samples
        if not labels and not targets:
            raise InputError(
                f"int64 labels ({samples},) or float32 targets ({samples}, C)",
                f"{self.y.dtype} {tuple(self.y.shape)}",
                "convert them in the data set's source",
            )

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """A task: two splits, and how their samples enter a network.

    classes: the number C of classes, or of real targets per sample.
    fingerprint: 16 hexadecimal characters, a hash of the source's content.
    mean, std: of the training split; for images per channel, (C,), in units of x/255;
        for features in their own unit, anything that broadcasts against (N, D).
    crop_padding, flip: augmentation in training: black pixels added on every side before
        a random crop back to (H, W), and whether to mirror left and right at random.
    Raises InputError for labels outside 0 … classes−1, for real targets that are not C finite
    numbers or do not vary within a split (R² is then undefined), and for splits of unlike shape.

    A data set of your own, for `load("mine")` and `faeval audit --data mine` (where the package
    that registers it declares the entry point in the group `faeval.data_sets`):

        def load_mine(data_dir: Path | None) -> Dataset:
            return Dataset(name="mine", train=Split(x, y), test=Split(x_test, y_test), …)

        DATA.register("mine")(Source("what it is", load_mine))
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
            if split.y.is_floating_point():
                self._check_targets(title, split.y)
            else:
                self._check_labels(title, split.y)
        if self.train.y.dtype != self.test.y.dtype:
            raise InputError(
                f"labels or real targets in both splits of {self.name!r}",
                f"{self.train.y.dtype} in training and {self.test.y.dtype} in test",
                "bring both splits to one type in the source",
            )
        if self.test.x.shape[1:] != self.input_shape or self.test.x.dtype != self.train.x.dtype:
            raise InputError(
                f"test samples like the training samples of {self.name!r}, {self.input_shape}",
                f"{tuple(self.test.x.shape[1:])}",
                "bring both splits to one shape and type in the source",
            )

    def _check_labels(self, title: str, y: Tensor) -> None:
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= self.classes:
            raise InputError(
                f"{title} labels of {self.name!r} in 0…{self.classes - 1}",
                f"{low}…{high}",
                "mend the labels or the source's number of classes",
            )

    def _check_targets(self, title: str, y: Tensor) -> None:
        if y.shape[1] != self.classes:
            got = f"{y.shape[1]} per sample"
        elif not bool(y.isfinite().all()):
            got = "some that are not finite"
        elif bool((y == y[0]).all()):
            got = "the same for every sample"
        else:
            return
        raise InputError(
            f"{title} targets of {self.name!r}: {self.classes} finite numbers per sample that vary",
            got,
            "mend the targets in the source",
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (C, H, W) or (D,)."""
        return tuple(self.train.x.shape[1:])

    @property
    def score(self) -> Score:
        """What a network is scored by on these data: R² for real targets."""
        return "R²" if self.train.y.is_floating_point() else "accuracy"

    @property
    def summary(self) -> str:
        """What it holds, in words: `50,000 + 10,000 images 3×32×32, 10 classes`."""
        kind = "images" if self.train.x.dtype == torch.uint8 else "samples of features"
        size = "×".join(map(str, self.input_shape))
        goal = "real targets" if self.train.y.is_floating_point() else "classes"
        samples = f"{len(self.train):,} + {len(self.test):,}"
        return f"{samples} {kind} {size}, {self.classes} {goal}"


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
