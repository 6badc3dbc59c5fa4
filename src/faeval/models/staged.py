"""A network as stem → blocks → head, so that each stage can be taught on its own."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.core.errors import InputError
from faeval.core.trace import Trace


class Staged(nn.Module):
    """h_0 = stem(x);  h_{l+1} = h_l + f_l(h_l), or f_l(h_l) without residual;  head(h_L).

    `state_shapes` are the shapes of h_0 … h_L without the batch dimension; `classes` is
    the number C of logits.
    """

    def __init__(
        self,
        stem: nn.Module,
        blocks: Iterable[nn.Module],
        head: nn.Module,
        *,
        state_shapes: Sequence[tuple[int, ...]],
        classes: int,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.ModuleList(blocks)
        self.head = head
        self.residual = residual
        self.classes = classes
        self.state_shapes = tuple(state_shapes)
        if len(self.state_shapes) != len(self.blocks) + 1:
            raise InputError(
                f"{len(self.blocks) + 1} state shapes (stem and each block)",
                str(len(self.state_shapes)),
                "pass one shape per state",
            )

    def run(self, x: Tensor, y: Tensor, *, local: bool) -> Trace:
        """One forward pass over inputs x (N, …) and labels y (N,).

        With `local`, every stage gets its input without graph: its outputs then lead
        back to its own parameters only, which is what local teaching needs.
        """

        def handed_on(h: Tensor) -> Tensor:
            return h.detach() if local else h

        h = self.stem(x)
        states, branches = [h], []
        for block in self.blocks:
            h = handed_on(h)
            f = block(h)
            h = h + f if self.residual else f
            branches.append(f)
            states.append(h)
        logits = self.head(handed_on(h))
        log_p = logits.log_softmax(-1)
        labels = y.unsqueeze(-1)
        error = log_p.detach().exp()
        error.scatter_add_(-1, labels, error.new_full((1, 1), -1.0).expand(labels.shape))
        loss = F.nll_loss(log_p, y, reduction="none")
        return Trace(tuple(states), tuple(branches), logits, loss, error)

    def resume(self, state: int, h: Tensor) -> Tensor:
        """Logits (N, C) of the rest of the network, from the state h_state (N, …) on."""
        for block in self.blocks[state:]:
            h = h + block(h) if self.residual else block(h)
        return self.head(h)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C)."""
        return self.resume(0, self.stem(x))

    def freeze_blocks(self, trainable: int) -> None:
        """Leave only the last `trainable` blocks trainable; stem and head always are."""
        depth = len(self.blocks)
        if not 0 <= trainable <= depth:
            raise InputError(
                f"trainable_blocks from 0 to {depth}", str(trainable), "choose a number in range"
            )
        for block in self.blocks[: depth - trainable]:
            block.requires_grad_(False)


def linear(
    inputs: int, outputs: int, generator: torch.Generator, *, std: float | None = None
) -> nn.Linear:
    """nn.Linear with torch's default initialisation, or W ~ N(0, std²) and zero bias.

    Unlike the constructor of nn.Linear it draws from `generator`, not from global state.
    """
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    bound = inputs**-0.5
    if std is None:
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    else:
        nn.init.normal_(layer.weight, 0.0, std, generator=generator)
        nn.init.zeros_(layer.bias)
    return layer
