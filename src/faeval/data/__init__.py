"""Data sets: where they come from, how they are cached, how they are fed to a network.

`load(name)` finds a registered source, reads it and returns a `Dataset`, two splits held
as plain tensors; `Batches` keeps one split on a device and yields normalised batches.
A further set of images in the hub's parquet layout is one `HubImages` registered in `DATA`.
"""

from faeval.data.base import DATA, Dataset, Source, Split, load
from faeval.data.batches import Batches
from faeval.data.digits import digit_sums, digits
from faeval.data.generated import linear_quadratic, teacher_student
from faeval.data.hub_images import CIFAR10, CIFAR100, FASHION_MNIST, MNIST, SVHN, HubImages
from faeval.data.own import own_parquet, own_tensors

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "DATA",
    "FASHION_MNIST",
    "MNIST",
    "SVHN",
    "Batches",
    "Dataset",
    "HubImages",
    "Source",
    "Split",
    "digit_sums",
    "digits",
    "linear_quadratic",
    "load",
    "own_parquet",
    "own_tensors",
    "teacher_student",
]
