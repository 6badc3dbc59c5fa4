"""What a reading costs: its time against a training epoch, its memory against the states.

    python benchmarks/reading.py [--images N] [--rounds N]

The published ResMLP on images of CIFAR-10's size (random ones: the arithmetic is the same), DFA,
one thread. An epoch is 50,000 images with augmentation; its time is taken from 40 steps of it,
in turns with the readings. Memory is the growth of the process's peak over what it held before.
"""

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable
from math import ceil
from pathlib import Path

import torch

from faeval.core.random import generator
from faeval.data import Batches, Dataset, Split
from faeval.models import ResMLP
from faeval.rules import DFA
from faeval.train.adamw import AdamW
from faeval.train.read import initial_norms, read
from faeval.train.step import step

EPOCH, BATCH, STEPS = 50_000, 128, 40


def images(count: int) -> Dataset:
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(256, (count, 3, 32, 32), generator=draw, dtype=torch.uint8)
    split = Split(x, torch.randint(10, (count,), generator=draw))
    moments = {"mean": torch.full((3,), 0.5), "std": torch.full((3,), 0.25)}
    return Dataset(
        name="random", train=split, test=split, classes=10, fingerprint="0" * 16, **moments,
        crop_padding=4, flip=True,
    )  # fmt: skip


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def peak_growth(run: Callable[[], object]) -> float | None:
    """MiB by which the peak of resident memory rises during `run`; None outside Linux."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not clear.exists():
        return None

    # What the allocator keeps of freed memory would hide the growth.
    ctypes.CDLL(None).malloc_trim(0)

    def field(name: str) -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1])

    clear.write_text("5")  # the peak starts anew from what is resident now
    before = field("VmRSS")
    run()
    return (field("VmHWM") - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of a reading, in ratios from one run.")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = images(BATCH * STEPS)
    batches = Batches(dataset, dataset.train)
    rule = DFA()
    model = ResMLP().build(dataset.input_shape, dataset.classes, generator(0, "weights"))
    untrained = ResMLP().build(dataset.input_shape, dataset.classes, generator(1, "weights"))
    feedback = rule.init(model, generator(0, "feedback"))
    optimizer = AdamW(dict(model.named_parameters()), weight_decay=0.01)
    order, augment = generator(0, "order"), generator(0, "augment")
    x, y = batches.take(torch.arange(options.images))

    def some_steps() -> None:
        for inputs, labels in batches.epoch(BATCH, order, augment):
            step(model, rule, feedback, optimizer, inputs, labels, learning_rate=1e-7)

    def reading(probe_images: int = 0) -> None:
        read(model, rule, feedback, x, y, probe_images=probe_images)
        initial_norms(untrained, x, y)

    read(model, rule, feedback, x[:16], y[:16], probe_images=0)  # libraries and their buffers
    states = len(model.state_shapes) * options.images * 256 * 8 / 2**20
    growth = peak_growth(reading)
    for warm_up in (some_steps, reading, lambda: reading(128)):
        warm_up()
    epoch, plain, probed = [], [], []
    for _ in range(options.rounds):
        epoch.append(timed(some_steps) * ceil(EPOCH / BATCH) / STEPS)
        plain.append(timed(reading))
        probed.append(timed(lambda: reading(128)))
    for name, values in (("reading", plain), ("reading with probes on 128", probed)):
        ratios = [100 * a / b for a, b in zip(values, epoch, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"{name}, {options.images} images / epoch: {middle:.1f} % "
            f"(quartiles {low:.1f} to {high:.1f}; {statistics.median(values):.2f} s here)"
        )
    told = "not measured" if growth is None else f"{growth:.0f} MiB, {growth / states:.1f} times"
    print(f"peak extra memory of a reading: {told} its states in float64 ({states:.0f} MiB)")


if __name__ == "__main__":
    main()
