"""Epochs: run the step over the data, watch for divergence, evaluate."""

import time
from math import isfinite

import torch
from torch import Tensor

from faeval.core.trace import Trace
from faeval.core.trial import Trial
from faeval.data import Batches
from faeval.records.schema import Epoch
from faeval.train.state import TrainState
from faeval.train.step import step


class DivergedError(ArithmeticError):
    """The loss or a state left the finite numbers, in `epoch` (from 1), at `layer` first
    (None: at the loss only)."""

    def __init__(self, epoch: int, layer: int | None) -> None:
        super().__init__(f"diverged in epoch {epoch} at {'the loss' if layer is None else layer}")
        self.epoch, self.layer = epoch, layer


class Score:
    """Accuracy, summed up batch by batch.

    For class labels y (N,) the fraction of samples whose largest logit is the label's; for real
    targets y (N, C) the coefficient of determination, at most 1 and below 0 for a network that
    does worse than the mean target ȳ:  R² = 1 − Σ_n ‖logits_n − y_n‖² / Σ_n ‖y_n − ȳ‖².
    """

    def __init__(self) -> None:
        self._samples, self._correct = 0, 0
        self._residual, self._squares, self._sum = 0.0, 0.0, torch.zeros(())

    def add(self, logits: Tensor, y: Tensor) -> None:
        """Count a batch of logits (B, C) without graph."""
        self._samples += len(y)
        if not y.is_floating_point():
            self._correct += int((logits.argmax(-1) == y).sum())
            return
        target = y.double()
        self._residual += float((logits.double() - target).square().sum())
        self._squares += float(target.square().sum())
        self._sum = self._sum.to(target) + target.sum(0)

    @property
    def value(self) -> float:
        """Accuracy or R² of all that was added."""
        if not self._sum.ndim:
            return self._correct / self._samples
        spread = self._squares - float(self._sum.square().sum()) / self._samples
        return 1 - self._residual / spread


def train_epoch(state: TrainState, trial: Trial, batches: Batches) -> Epoch:
    """One pass over the training data; raises DivergedError."""
    recipe = trial.recipe
    started = time.perf_counter()
    steps = recipe.epochs * batches.steps(recipe.batch_size)
    loss, score, trace = 0.0, Score(), None
    state.model.train()
    augment = state.generators["augment"] if recipe.augment else None
    for x, y in batches.epoch(recipe.batch_size, state.generators["order"], augment):
        trace = step(
            state.model,
            state.rule,
            state.feedback,
            state.optimizer,
            x,
            y,
            learning_rate=trial.learning_rate(state.step, steps),
            penalty=trial.penalty,
            credit_at=recipe.credit_at,
            generator=state.generators["update"],
        )
        # A block or a LayerNorm may hide an infinite state from the loss: all are watched.
        sums = torch.stack([t.detach().sum() for t in (trace.loss, *trace.states)]).tolist()
        if not all(map(isfinite, sums)):
            raise DivergedError(state.epoch + 1, _first_non_finite(trace))
        loss += sums[0]
        score.add(trace.logits.detach(), y)
        state.step += 1
    assert trace is not None
    state.epoch += 1
    return Epoch(
        epoch=state.epoch,
        loss=loss / len(batches),
        accuracy=score.value,
        state_norms=[_mean_norm(h) for h in trace.states],
        seconds=time.perf_counter() - started,
    )


@torch.no_grad()
def accuracy(state: TrainState, batches: Batches, batch_size: int = 1000) -> float:
    """The `Score` of the network on `batches`, in evaluation mode; raises DivergedError if a
    logit is not finite."""
    score = Score()
    state.model.eval()
    for x, y in batches.evaluate(batch_size):
        logits = state.model(x)
        if not bool(logits.isfinite().all()):
            raise DivergedError(state.epoch, None)
        score.add(logits, y)
    return score.value


def _first_non_finite(trace: Trace) -> int | None:
    for layer, h in enumerate(trace.states):
        if not bool(h.isfinite().all()):
            return layer
    return None


def _mean_norm(h: Tensor) -> float:
    # In float64, for a norm may overflow where its entries do not.
    return float(h.detach().flatten(1).double().norm(dim=1).mean())
