"""Validation data: a part of the training data in the place of the test data."""

from dataclasses import replace
from math import ceil

import torch

from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.data.base import Dataset, Split


def held_out(dataset: Dataset, fraction: float) -> Dataset:
    """`dataset` with ⌈fraction · N⌉ random training samples as its test data, and the others as
    its training data; with fraction 0 as it is.

    The split is the same for every trial. Samples are held out one by one: where several were
    made of one source (the pairs of digit-sums share images), validation accuracy stands above
    test accuracy, for every method alike. Mean and standard deviation stay those of all training
    data. Raises InputError where nothing is left to train on.
    """
    if not fraction:
        return dataset
    held = ceil(fraction * len(dataset.train))
    if held >= len(dataset.train):
        raise InputError(
            f"a validation fraction that leaves some of {len(dataset.train)} training samples",
            str(fraction),
            "hold out less",
        )
    order = torch.randperm(len(dataset.train), generator=generator(0, "validation"))
    validation, rest = (
        Split(dataset.train.x[rows], dataset.train.y[rows])
        for rows in (order[:held].sort().values, order[held:].sort().values)
    )
    return replace(dataset, train=rest, test=validation)
