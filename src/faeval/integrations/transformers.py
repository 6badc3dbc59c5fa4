"""Readings in the training of the Hugging Face Trainer."""

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from faeval.core.errors import InputError
from faeval.integrations.scalars import scalars
from faeval.probe import Measured, measure
from faeval.probe.watching import Schedule

# Where the library is not installed, a type checker takes its name for this very file.
TrainerCallback: Any = import_module("transformers").TrainerCallback


class Logits(nn.Module):
    """A model of the library as a map from its main input (N, …) to its logits (N, …), with the
    submodule names of the model itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not hasattr(model, "main_input_name"):
            raise InputError(
                "a model of transformers, with a main_input_name",
                type(model).__name__,
                "pass module=, a function from the model to a module that maps x to its output",
            )
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits of unpadded inputs."""
        return self.model(**{str(self.model.main_input_name): x}).logits

    def get_submodule(self, target: str) -> nn.Module:
        """The submodule of that name in the model."""
        return self.model.get_submodule(target)

    def named_modules(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        memo: set[nn.Module] | None = None,
        prefix: str = "",
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, nn.Module]]:
        """Names and submodules of the model."""
        return self.model.named_modules(memo, prefix, remove_duplicate)


class ReadingCallback(TrainerCallback):
    """Measures the network at steps of training, which ends in the same bits as without it.

        callback = ReadingCallback(trainer, states=…, credits=…, batch=test, schedule=every(100))
        trainer.add_callback(callback)
        trainer.train()
        callback.readings[100].verdict

    Step s is the network after s updates (`state.global_step`), 0 the untrained one. What is read
    goes to the trainer's log by the names of `integrations.scalars`, and stays in `readings`,
    `Measured` by step. Of several processes the first one reads; a network that is sharded over
    processes cannot be read.

    Args:
        trainer: whose `log` is used; it hands callbacks neither its log nor its batches.
        schedule: a function of the step; see `faeval.every` and `faeval.logarithmic`.
        batch: (x, y) to read each time; x is the model's main input without padding.
        module: from the trained model to what is measured; default `Logits`, whose submodules
            have the names that they have in the model.
        options: as of `measure`: states, credits, loss, null, …

    Raises:
        TypeError: an option that `measure` does not have.
        InputError: as `measure`, when training begins.
    """

    def __init__(
        self,
        trainer: Any,
        *,
        schedule: Schedule,
        batch: tuple[Tensor, Tensor],
        module: Callable[[Any], nn.Module] = Logits,
        **options: Any,
    ) -> None:
        inspect.signature(measure).bind_partial(nn.Identity(), **options)
        self.readings: dict[int, Measured] = {}
        self._trainer, self._schedule, self._batch = trainer, schedule, batch
        self._module, self._options = module, options

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The untrained network, or that of a checkpoint."""
        self._read(state, control, kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The network after an update."""
        self._read(state, control, kwargs["model"])

    def _read(self, state: Any, control: Any, model: nn.Module) -> None:
        step = state.global_step
        if not state.is_world_process_zero or step in self.readings or not self._schedule(step):
            return
        device = next(model.parameters()).device
        x, y = (t.to(device) for t in self._batch)
        options = {"name": type(model).__name__, **self._options}
        self.readings[step] = measured = measure(self._module(model), batch=(x, y), **options)
        # `log` takes the trainer's own log at this step for done.
        due = control.should_log
        self._trainer.log(scalars(measured))
        control.should_log = due
