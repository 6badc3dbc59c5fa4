"""Readings in the training of PyTorch Lightning."""

import inspect
from collections.abc import Callable
from typing import Any

from pytorch_lightning import Callback  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn

from faeval.integrations.scalars import scalars
from faeval.probe import Measured, measure
from faeval.probe.watching import Schedule

Batch = tuple[Tensor, Tensor]


class ReadingCallback(Callback):
    """Measures the network at steps of training, which ends in the same bits as without it.

        callback = ReadingCallback(states=…, credits=…, batch=test, schedule=every(100))
        Trainer(callbacks=[callback]).fit(model)
        callback.readings[100].verdict

    Step s is the network after s updates (`trainer.global_step`), 0 the untrained one. What is
    read goes to every logger of the trainer by the names of `integrations.scalars`, and stays in
    `readings`, `Measured` by step. Of several processes the first one reads; a strategy that
    shards the network over processes cannot be read. Works with `lightning` and
    `pytorch_lightning` alike.

    Args:
        schedule: a function of the step; see `faeval.every` and `faeval.logarithmic`.
        batch: (x, y) to read each time; or a function from the batch that is trained on to
            (x, y). By default the latter batch itself, if it is such a pair.
        module: from the `LightningModule` to what is measured, where its own `forward` is not
            the network: `lambda model: model.net`.
        options: as of `measure`: states, credits, null, …

    Raises:
        TypeError: an option that `measure` does not have.
        InputError: as `measure`, at the first step read.
    """

    def __init__(
        self,
        *,
        schedule: Schedule,
        batch: Batch | Callable[[Any], Batch] | None = None,
        module: Callable[[Any], nn.Module] | None = None,
        **options: Any,
    ) -> None:
        inspect.signature(measure).bind_partial(nn.Identity(), **options)
        self.readings: dict[int, Measured] = {}
        self._schedule, self._batch, self._module = schedule, batch, module
        self._options = options

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """The untrained network, or that of a checkpoint."""
        self._read(trainer, pl_module, batch)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The network after an update, or between two of them: then it was read before."""
        self._read(trainer, pl_module, batch)

    def _read(self, trainer: Any, pl_module: Any, batch: Any) -> None:
        step = trainer.global_step
        if not trainer.is_global_zero or step in self.readings or not self._schedule(step):
            return
        pair: Any = self._batch(batch) if callable(self._batch) else self._batch or batch
        if isinstance(pair, tuple | list):
            pair = tuple(t.to(pl_module.device) if isinstance(t, Tensor) else t for t in pair)
        module = self._module(pl_module) if self._module else pl_module
        self.readings[step] = measured = measure(module, batch=pair, **self._options)
        for logger in trainer.loggers:
            logger.log_metrics(scalars(measured), step=step)
