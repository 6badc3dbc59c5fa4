"""The update of AdamW (Loshchilov & Hutter 2019, algorithm 2: decoupled decay), fused."""

from collections.abc import Sequence

import torch
from torch import Tensor

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


@torch.no_grad()
def adamw_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    steps: Tensor,
    *,
    learning_rate: float,
    weight_decay: float,
) -> None:
    """Move `parameters` and their moments in place; `steps` counts this step already.

    The kernel is torch's own, and so are its bits; what torch.optim wraps around it takes a third
    of its time for networks of this size.
    """
    torch._fused_adamw_(  # pyright: ignore[reportPrivateImportUsage]
        list(parameters),
        list(gradients),
        list(first),
        list(second),
        [],
        [steps] * len(parameters),
        lr=learning_rate,
        beta1=BETA1,
        beta2=BETA2,
        weight_decay=weight_decay,
        eps=EPS,
        amsgrad=False,
        maximize=False,
    )
