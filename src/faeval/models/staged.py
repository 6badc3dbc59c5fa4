"""A network as stem → blocks → head, so that each stage can be taught on its own."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from faeval.core.errors import InputError
from faeval.core.trace import Trace


class Staged(nn.Module):
    """h_0 = stem(x);  h_{l+1} = h_l + f_l(h_l), or f_l(h_l) without residual;  head(h_L).

    `state_shapes` are the shapes of h_0 … h_L without the batch dimension; `classes` is
    the number C of logits. `residual` is one answer for all blocks or one for each.
    """

    def __init__(
        self,
        stem: nn.Module,
        blocks: Iterable[nn.Module],
        head: nn.Module,
        *,
        state_shapes: Sequence[tuple[int, ...]],
        classes: int,
        residual: bool | Sequence[bool] = True,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.ModuleList(blocks)
        self.head = head
        self.classes = classes
        self.state_shapes = tuple(state_shapes)
        depth = len(self.blocks)
        self.residual = (residual,) * depth if isinstance(residual, bool) else tuple(residual)
        if (len(self.state_shapes), len(self.residual)) != (depth + 1, depth):
            raise InputError(
                f"{depth + 1} state shapes (stem and each block) and {depth} residuals",
                f"{len(self.state_shapes)} and {len(self.residual)}",
                "pass one shape per state and one residual per block",
            )

    def run(self, x: Tensor, y: Tensor, *, local: bool, input_gradients: bool = False) -> Trace:
        """One forward pass over inputs x (N, …) and labels y (N,), or real targets y (N, C).

        With `local`, every stage gets its input without graph: its outputs then lead
        back to its own parameters only, which is what local teaching needs. A rule that
        replaces the transposes inside a block needs `input_gradients`, for a stage may
        otherwise take a short cut that no gradient to its input would pass.
        """

        def handed_on(h: Tensor) -> Tensor:
            return h.detach().requires_grad_(input_gradients) if local else h

        h = self.stem(x)
        if not local and torch.is_grad_enabled() and not h.requires_grad:
            h = h.detach().requires_grad_()  # a stem without parameters: the graph starts here
        states, branches = [h], []
        for block, residual in zip(self.blocks, self.residual, strict=True):
            h = handed_on(h)
            f = block(h)
            h = h + f if residual else f
            branches.append(f)
            states.append(h)
        logits = self.head(handed_on(h))
        loss, error, target = _judged(logits, y)
        return Trace(
            tuple(states),
            tuple(branches),
            logits,
            loss,
            error,
            target,
            (*self._maps(),),
            partial(losses, y=y),
        )

    def resume(self, state: int, h: Tensor) -> Tensor:
        """Logits (N, C) of the rest of the network, from the state h_state (N, …) on."""
        for block, residual in zip(self.blocks[state:], self.residual[state:], strict=True):
            h = h + block(h) if residual else block(h)
        return self.head(h)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C)."""
        return self.resume(0, self.stem(x))

    def freeze_blocks(self, trainable: int) -> None:
        """Leave only the last `trainable` blocks trainable; stem and head always are.

        What is frozen are parameters. The running statistics of BatchNorm, which describe the
        data and learn nothing, go on following the batches of training in a frozen block too:
        in evaluation the network would otherwise not be the one that was trained.
        """
        depth = len(self.blocks)
        if not 0 <= trainable <= depth:
            raise InputError(
                f"trainable_blocks from 0 to {depth}", str(trainable), "choose a number in range"
            )
        for block in self.blocks[: depth - trainable]:
            block.requires_grad_(False)

    def _maps(self) -> Iterable[Callable[[Tensor], Tensor]]:
        for block, residual in zip(self.blocks, self.residual, strict=True):
            yield partial(_mapped, block, residual)
        yield partial(_mapped, self.head, False)


def _mapped(module: nn.Module, residual: bool, h: Tensor) -> Tensor:
    buffers = {name: b.clone() for name, b in module.named_buffers()}
    f = functional_call(module, buffers, (h,)) if buffers else module(h)
    return h + f if residual else f


def losses(logits: Tensor, y: Tensor) -> Tensor:
    """ℓ_n (N,) of logits (N, C) for class labels y (N,) or real targets y (N, C): see `Trace`."""
    if y.is_floating_point():
        return 0.5 * (logits - y).square().sum(-1)
    return F.cross_entropy(logits, y, reduction="none")


def _judged(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, error and target of a batch."""
    if y.is_floating_point():
        target = y.to(logits.dtype)
        difference = logits - target
        return 0.5 * difference.square().sum(-1), difference.detach(), target
    log_p = logits.log_softmax(-1)
    target = torch.zeros_like(log_p, requires_grad=False).scatter_(-1, y.unsqueeze(-1), 1.0)
    error = log_p.detach().exp() - target
    return F.nll_loss(log_p, y, reduction="none"), error, target
