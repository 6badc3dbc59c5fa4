"""Labels that say nothing of the samples: controls for a network that learns what is not there."""

from typing import Literal

import torch

from faeval.core.errors import InputError
from faeval.data.base import Split


def relabelled(
    split: Split,
    labels: Literal["true", "permuted", "random"],
    classes: int,
    generator: torch.Generator,
) -> Split:
    """`split` with its `true` labels, with the same labels `permuted` over the samples, or with
    uniformly `random` ones, drawn once. InputError for random ones where targets are real."""
    if labels == "true":
        return split
    if labels == "permuted":
        return Split(split.x, split.y[torch.randperm(len(split), generator=generator)])
    if split.y.is_floating_point():
        raise InputError("class labels to draw at random", "real targets", "use labels: permuted")
    return Split(split.x, torch.randint(classes, (len(split),), generator=generator))
