"""Watching a training loop: the loop does not notice."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from probe_nets import CNN, FANet, dfa, feedbacks, labels, settle
from torch.nn import functional as F

from faeval.core.errors import InputError
from faeval.probe import Measured, every, logarithmic, measure, watch


def train(kind, watching=None, steps=7):
    net = settle(kind()).train()
    torch.manual_seed(0)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for step in range(steps):
        x = torch.randn(6, 2, 6, 6) if kind is CNN else torch.randn(6, 5)
        y = labels(6)
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        if watching is not None:
            watching(net, step, (x, y))  # in the middle: gradients are there
        optimiser.step()
        optimiser.zero_grad()
        if watching is not None:
            watching(net, step + 100, (x, y))
    return net.state_dict(), torch.get_rng_state()


@pytest.mark.parametrize("kind", [CNN, FANet])
def test_a_watched_run_ends_in_the_same_bits(kind):
    """Dropout, BatchNorm, AdamW: weights, statistics and random state."""
    credits = dfa(feedbacks(CNN)) if kind is CNN else "backward"
    seen = []

    def look(net, step, batch):
        options = {"states": net.STATES, "credits": credits, "null": None, "direction": False}
        with watch(net, schedule=every(3), **options) as watching:
            seen.append(watching.step(step, batch))

    plain, chance = train(kind)
    watched, same = train(kind, look)
    assert torch.equal(chance, same)
    assert all(torch.equal(plain[k], watched[k]) for k in plain)
    assert sum(m is not None for m in seen) == 5


def test_readings_by_step():
    net = settle(CNN())
    batch = CNN.inputs(4), labels(4)
    options = {"states": net.STATES, "credits": dfa(feedbacks(CNN))}
    with watch(net, schedule=every(2), batch=batch, **options) as watching:
        for step in range(5):
            measured = watching.step(step)
            assert (measured is None) == (step % 2 == 1)
    assert list(watching) == [0, 2, 4]
    assert len(watching) == 3
    assert isinstance(watching[2], Measured)
    assert watching[4] == measure(net, batch=batch, **options)
    with pytest.raises(KeyError):
        watching[1]
    with pytest.raises(InputError, match="step 6 after it"):
        watching.step(6)


def test_refused():
    net = settle(CNN())
    with pytest.raises(TypeError, match="credit"), watch(net, schedule=every(1), credit=1):
        pass
    options = {"states": net.STATES, "credits": dfa(feedbacks(CNN))}
    with (
        watch(net, schedule=every(1), **options) as watching,
        pytest.raises(InputError, match="a batch"),
    ):
        watching.step(0)
    options["states"] = ["cnv"]
    with (
        watch(net, schedule=every(1), **options) as watching,
        pytest.raises(InputError, match="conv"),
    ):
        watching.step(0, (CNN.inputs(2), labels(2)))
    for wrong in (lambda: every(0), lambda: logarithmic(1), lambda: logarithmic(float("nan"))):
        with pytest.raises(InputError):
            wrong()


@given(st.floats(1.05, 20), st.integers(0, 5000))
def test_logarithmic_is_every_power(base, step):
    powers = {0} | {int(base**i) for i in range(200) if base**i < 1e6}
    assert logarithmic(base)(step) == (step in powers)


def test_schedules():
    assert [s for s in range(40) if logarithmic()(s)] == [0, 1, 2, 4, 8, 16, 32]
    assert [s for s in range(8) if every(3)(s)] == [0, 3, 6]
    assert not logarithmic()(-1)
