"""`faeval.watch`: the same measurement at chosen steps of anyone's training loop."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from faeval.core.errors import InputError
from faeval.probe.measured import Measured
from faeval.probe.measuring import measure

Schedule = Callable[[int], bool]
"""Whether to measure at a step."""


def every(k: int) -> Schedule:
    """Steps 0, k, 2k, …; raises InputError unless k ≥ 1."""
    if k < 1:
        raise InputError("every(k) with k ≥ 1", str(k), "write every(1) for each step")
    return lambda step: step % k == 0


def logarithmic(base: float = 2.0) -> Schedule:
    """Steps 0 and ⌊base^i⌋, i = 0, 1, …: dense at first, when most happens.

    Raises InputError unless base > 1.
    """
    if not 1 < base < math.inf:
        raise InputError("logarithmic(base) with base > 1", str(base), "write for example 2")

    def due(step: int) -> bool:
        if step < 2:
            return step >= 0
        near = round(math.log(step, base))
        return any(math.floor(base**i) == step for i in (near - 1, near, near + 1))

    return due


class Watch(Mapping[int, Measured]):
    """What was measured, by step. `step(step, batch)` in the loop, look-up at any time."""

    def __init__(self, module: nn.Module, schedule: Schedule, options: Mapping[str, Any]) -> None:
        self._module, self._schedule, self._options = module, schedule, options
        self._measured: dict[int, Measured] = {}
        self._open = True

    def step(self, step: int, batch: tuple[Tensor, Tensor] | None = None) -> Measured | None:
        """Measure the module as it is now, if the schedule says so; else return None.

        `batch` may be left out where `watch` was given one. Raises InputError as `measure`
        does, and after the `with` block.
        """
        if not self._open:
            raise InputError("steps inside of the with block", f"step {step} after it", "indent it")
        if not self._schedule(step):
            return None
        given = {} if batch is None else {"batch": batch}
        if "batch" not in self._options and batch is None:
            raise InputError(
                "a batch to read", "none", "write step(step, (x, y)) or watch(batch=…)"
            )
        self._measured[step] = measure(self._module, **{**self._options, **given})
        return self._measured[step]

    def __getitem__(self, step: int) -> Measured:
        return self._measured[step]

    def __iter__(self) -> Iterator[int]:
        return iter(self._measured)

    def __len__(self) -> int:
        return len(self._measured)


@contextmanager
def watch(module: nn.Module, *, schedule: Schedule, **options: Any) -> Iterator[Watch]:
    """Measure `module` at steps of a training loop, which ends in the same bits as without.

        with faeval.watch(model, states=…, credits=…, schedule=every(100)) as watching:
            for step, (x, y) in enumerate(loader):
                …                              # the loop's own forward, backward, update
                watching.step(step, (x, y))
        watching[0].verdict                    # Measured by step

    Args:
        schedule: a function of the step; see `every` and `logarithmic`.
        options: as of `measure`; `batch` may wait for `step`.

    Raises:
        TypeError: an option that `measure` does not have.
        InputError: as `measure`, at the first step measured.
    """
    inspect.signature(measure).bind_partial(module, **options)
    watching = Watch(module, schedule, options)
    try:
        yield watching
    finally:
        watching._open = False
