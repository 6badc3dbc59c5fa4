"""A network with everything that a reading could disturb, and the DFA that is read on it."""

import random

import numpy as np
import torch
from torch import Tensor, nn

STATES = ["conv", "hidden"]


class Net(nn.Module):
    """BatchNorm keeps statistics, Dropout draws."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.3)
        self.hidden = nn.Linear(3 * 16, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.drop(self.norm(self.conv(x)).relu())
        return self.head(self.hidden(h.flatten(1)).relu())


def images(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 4, 4, generator=draw), torch.randint(4, (n,), generator=draw)


_DRAW = torch.Generator().manual_seed(5)
FEEDBACK = [torch.randn(3 * 16, 4, generator=_DRAW), torch.randn(8, 4, generator=_DRAW)]


def dfa(trace) -> list[Tensor]:
    return [(trace.error @ B.T).view_as(h) for B, h in zip(FEEDBACK, trace.states, strict=True)]


OPTIONS = {"states": STATES, "credits": dfa, "null": "gaussian"}


def seed_everything() -> None:
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)


def chance() -> tuple:
    """The next number of every global generator, without drawing it."""
    numpy_state = np.random.get_state()
    return (
        torch.get_rng_state().tolist(),
        random.getstate(),
        numpy_state[1].tolist(),
        numpy_state[2],
    )


def assert_same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []
