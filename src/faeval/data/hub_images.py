"""Image classification sets in the hub's parquet layout: one `HubImages` each."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.data.base import DATA, Dataset, Source, Split
from faeval.data.cache import cached, file_digest
from faeval.data.parquet import SPLITS, find_files, read_split


@dataclass(frozen=True)
class HubImages:
    """Where a set of images lies on the hub, what it must contain, how it is trained on.

    repo, config: the data set's repository and the folder of its parquet files there.
    shape: (C, H, W) of every image, C = 1 or 3. The other fields: see `Dataset`.
    """

    name: str
    repo: str
    config: str
    classes: int
    shape: tuple[int, int, int]
    crop_padding: int
    flip: bool

    def load(self, data_dir: Path | None = None) -> Dataset:
        """Read the parquet files in `data_dir`, or fetch them from the hub.

        The first time they are decoded, later they come from the cache. Raises InputError
        for files that are absent, damaged or unlike this data set.
        """
        folder = self._fetch() if data_dir is None else data_dir
        files = find_files(folder, self.name, self.config)
        try:
            fingerprint = file_digest(files)
        except OSError as error:
            raise InputError(
                f"readable parquet files in {str(folder)!r}", str(error), "mend the permissions"
            ) from error
        size = "x".join(map(str, self.shape))
        tensors = cached(
            f"{self.name}-{fingerprint}-{size}-{self.classes}", lambda: self._decode(files)
        )
        return Dataset(
            name=self.name,
            train=Split(tensors["train.x"], tensors["train.y"]),
            test=Split(tensors["test.x"], tensors["test.y"]),
            classes=self.classes,
            fingerprint=fingerprint,
            mean=tensors["mean"],
            std=tensors["std"],
            crop_padding=self.crop_padding,
            flip=self.flip,
        )

    def _decode(self, files: dict[str, list[Path]]) -> dict[str, Tensor]:
        splits = {
            name: read_split(shards, self.shape, self.classes) for name, shards in files.items()
        }
        mean, std = moments(splits["train"].x)
        tensors = {"mean": mean, "std": std}
        for name, split in splits.items():
            tensors |= {f"{name}.x": split.x, f"{name}.y": split.y}
        return tensors

    def _fetch(self) -> Path:
        """The folder of this data set in the hub's own cache, downloaded where needed."""
        fix = "name their folder with --data-dir DIR or install faeval[hub] to download them"
        try:  # a dependency of `datasets`; it hands over the files themselves, undecoded
            from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise InputError(
                f"the parquet files of {self.name!r}", "no folder to read", fix
            ) from error
        try:
            return Path(
                snapshot_download(
                    self.repo,
                    repo_type="dataset",
                    # A repository may hold more: SVHN's `extra` split is ten times the others.
                    allow_patterns=[f"{self.config}/{split}-*.parquet" for split in SPLITS],
                )
            )
        except Exception as error:  # offline, refused, disk full: each a type of its own
            raise InputError(
                f"the parquet files of {self.name!r} from the hub ({self.repo})",
                f"a failed download ({type(error).__name__})",
                "go online or name their folder with --data-dir DIR",
            ) from error


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, (C,), of uint8 images (N, C, H, W) in x/255.

    Computed from the exact counts of the 256 values; a constant channel gets std 1.
    """
    counts = torch.stack([torch.bincount(plane.flatten(), minlength=256) for plane in x.unbind(1)])
    weights = counts.double() / counts.sum(1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = weights @ values
    std = (weights * (values - mean[:, None]) ** 2).sum(1).sqrt()
    return mean.float(), torch.where(std > 0, std, 1.0).float()


CIFAR10 = HubImages(
    name="cifar10",
    repo="uoft-cs/cifar10",
    config="plain_text",
    classes=10,
    shape=(3, 32, 32),
    crop_padding=4,
    flip=True,
)
CIFAR100 = HubImages(
    name="cifar100",
    repo="uoft-cs/cifar100",
    config="cifar100",
    classes=100,
    shape=(3, 32, 32),
    crop_padding=4,
    flip=True,
)
# Digits are not mirrored; clothes may be.
MNIST = HubImages(
    name="mnist",
    repo="ylecun/mnist",
    config="mnist",
    classes=10,
    shape=(1, 28, 28),
    crop_padding=2,
    flip=False,
)
FASHION_MNIST = HubImages(
    name="fashion-mnist",
    repo="zalando-datasets/fashion_mnist",
    config="fashion_mnist",
    classes=10,
    shape=(1, 28, 28),
    crop_padding=2,
    flip=True,
)
SVHN = HubImages(
    name="svhn",
    repo="ufldl-stanford/svhn",
    config="cropped_digits",
    classes=10,
    shape=(3, 32, 32),
    crop_padding=2,
    flip=False,
)

for images, description in (
    (CIFAR10, "CIFAR-10, 32×32 colour images (parquet files)"),
    (CIFAR100, "CIFAR-100, the 100 fine labels, 32×32 colour images (parquet files)"),
    (MNIST, "MNIST, 28×28 grey handwritten digits (parquet files)"),
    (FASHION_MNIST, "Fashion-MNIST, 28×28 grey images of clothes (parquet files)"),
    (SVHN, "SVHN, 32×32 colour house numbers, without its extra split (parquet files)"),
):
    DATA.register(images.name)(Source(description, images.load, width=256))
