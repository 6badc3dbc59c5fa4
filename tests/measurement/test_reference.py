"""The reference gradients against autograd, one sample at a time."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.core.random import generator
from faeval.measurement import reference as module
from faeval.measurement.reference import reading_copy, reference


class Net(nn.Module):
    """Two states, dropout and batch statistics: everything that evaluation mode must still."""

    def __init__(self) -> None:
        super().__init__()
        draw = generator(0, "net")
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)
        self.norm, self.drop = nn.BatchNorm1d(5), nn.Dropout(0.5)
        for p in self.parameters():
            p.data.normal_(generator=draw)

    def states(self, x: Tensor, y: Tensor) -> tuple[list[Tensor], Tensor]:
        h0 = self.first(x)
        h1 = self.norm(self.drop(h0)).tanh()
        return [h0, h1], F.cross_entropy(self.second(h1), y, reduction="none")


def forward(net: nn.Module, x: Tensor, y: Tensor) -> tuple[list[Tensor], Tensor]:
    assert isinstance(net, Net)
    return net.states(x, y)


def batch(n: int) -> tuple[Tensor, Tensor]:
    draw = generator(1, "batch")
    return torch.randn(n, 6, generator=draw), torch.randint(3, (n,), generator=draw)


@pytest.mark.parametrize("n", [1, 7, 20, 23])
def test_chunks_and_single_samples_give_the_same_gradients(n, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 5)
    net, (x, y) = Net(), batch(n)
    ref = reference(forward, net, x, y)
    exact_net = copy.deepcopy(net).double().eval()
    for i in range(n):
        states, loss = exact_net.states(x[i : i + 1].double(), y[i : i + 1])
        for l, g in enumerate(torch.autograd.grad(loss.sum(), states)):
            torch.testing.assert_close(ref.exact[l][i], g[0], rtol=1e-12, atol=1e-300)
            torch.testing.assert_close(ref.working[l][i].double(), g[0], rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(ref.states[l][i], states[l][0].detach().float())
    assert [t.dtype for t in (ref.exact[0], ref.working[0], ref.states[0])] == [
        torch.float64, torch.float32, torch.float32
    ]  # fmt: skip
    assert all(len(t) == n and not t.requires_grad for t in (*ref.exact, *ref.states))


def test_under_autocast_it_is_the_gradient_of_the_mean_loss():
    net, (x, y) = Net(), batch(16)
    ref = reference(forward, net, x, y, autocast=(torch.bfloat16,))
    (reduced,) = ref.autocast.values()
    for half, exact in zip(reduced, ref.exact, strict=True):
        torch.testing.assert_close(half.double() * 16, exact, rtol=0.2, atol=0.02)
    assert reduced[0].dtype == torch.bfloat16


def test_a_frozen_network_can_be_read_and_stays_as_it_is():
    net, (x, y) = Net().requires_grad_(False), batch(4)
    net.first.weight.grad = torch.ones_like(net.first.weight)
    before, mode = copy.deepcopy(net.state_dict()), net.training
    chance = torch.get_rng_state()
    assert all(g.any() for g in reference(forward, net, x, y).exact)
    assert net.training is mode
    assert not any(p.requires_grad for p in net.parameters())
    assert net.first.weight.grad.eq(1).all()
    assert all(torch.equal(t, before[k]) for k, t in net.state_dict().items())
    assert torch.equal(chance, torch.get_rng_state())
    assert all(p.grad is None for p in reading_copy(net).parameters())
