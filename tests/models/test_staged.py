"""The staged contract: what a run leaves, what it leads back to, what it refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.models import ResMLP, Staged

FEATURES, WIDTH, DEPTH, CLASSES, SAMPLES = 6, 8, 3, 4, 5


def network(*, residual: bool = True, norm: bool = True) -> Staged:
    config = ResMLP(width=WIDTH, depth=DEPTH, residual=residual, terminal_norm=norm, w2_std=0.3)
    return config.build((FEATURES,), CLASSES, generator(0, "weights")).double()


def batch() -> tuple[Tensor, Tensor]:
    draw = generator(0, "batch")
    x = torch.randn(SAMPLES, FEATURES, generator=draw, dtype=torch.float64)
    return x, torch.randint(CLASSES, (SAMPLES,), generator=draw)


def close(a, b) -> None:
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


both = pytest.mark.parametrize("residual", [True, False])


@both
@pytest.mark.parametrize("local", [True, False])
def test_a_run_equals_the_stages_one_after_the_other(residual, local):
    model, (x, y) = network(residual=residual), batch()
    trace = model.run(x, y, local=local)
    h = model.stem(x)
    close(trace.states[0], h)
    for l, block in enumerate(model.blocks):
        f = block(h)
        h = h + f if residual else f
        close(trace.branches[l], f)
        close(trace.states[l + 1], h)
    close(trace.logits, model.head(h))
    close(model(x), trace.logits)
    assert len(trace.states) == DEPTH + 1
    assert len(trace.branches) == DEPTH
    assert [tuple(h.shape[1:]) for h in trace.states] == list(model.state_shapes)
    assert trace.logits.shape == (SAMPLES, model.classes)


@both
def test_a_local_and_an_end_to_end_run_have_the_same_numbers(residual):
    """To rounding: a block may compute one product in another order where it is taught locally."""
    model, (x, y) = network(residual=residual), batch()
    local, whole = (model.run(x, y, local=local) for local in (True, False))
    for name in ("states", "branches", "logits", "loss", "error"):
        close(getattr(local, name), getattr(whole, name))


def leads_to(output: Tensor, model: Staged) -> set[str]:
    """The stages whose parameters `output` depends on, by autograd."""
    named = dict(model.named_parameters())
    found = torch.autograd.grad(
        output.sum(), list(named.values()), allow_unused=True, retain_graph=True
    )
    reached = [name for name, g in zip(named, found, strict=True) if g is not None]
    return {".".join(n.split(".")[: 2 if n.startswith("blocks") else 1]) for n in reached}


@both
def test_a_local_trace_leads_to_its_own_stage_only(residual):
    model, (x, y) = network(residual=residual), batch()
    trace = model.run(x, y, local=True)
    assert leads_to(trace.states[0], model) == {"stem"}
    for l in range(DEPTH):
        assert leads_to(trace.branches[l], model) == {f"blocks.{l}"}
        assert leads_to(trace.states[l + 1], model) == {f"blocks.{l}"}
    assert leads_to(trace.logits, model) == {"head"}
    assert leads_to(trace.loss, model) == {"head"}
    assert not trace.error.requires_grad


@both
def test_a_trace_with_graph_leads_to_all_that_came_before(residual):
    model, (x, y) = network(residual=residual), batch()
    trace = model.run(x, y, local=False)
    before = {"stem"}
    for l in range(DEPTH):
        assert leads_to(trace.states[l], model) == before
        before = before | {f"blocks.{l}"}
    assert leads_to(trace.loss, model) == before | {"head"}
    assert not trace.error.requires_grad


@pytest.mark.parametrize("local", [True, False])
def test_loss_and_error_are_per_sample(local):
    model, (x, y) = network(), batch()
    trace = model.run(x, y, local=local)
    torch.testing.assert_close(trace.loss, F.cross_entropy(trace.logits, y, reduction="none"))
    softmax = trace.logits.detach().softmax(1)
    torch.testing.assert_close(trace.error, softmax - F.one_hot(y, CLASSES))
    gradient = torch.autograd.grad(trace.loss.sum(), trace.logits)[0]
    torch.testing.assert_close(trace.error, gradient, rtol=1e-12, atol=1e-15)


class Fixed(nn.Module):
    """A head with logits of one's own."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, h: Tensor) -> Tensor:
        return self.logits + 0 * h.sum()


@given(
    samples=st.integers(1, 5),
    classes=st.integers(2, 6),
    scale=st.sampled_from([1e-3, 1.0, 30.0, 1e4]),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=40, derandomize=True, database=None)
def test_error_and_loss_of_any_logits(samples, classes, scale, seed):
    """Also of saturated ones: softmax − onehot is finite and sums to zero over the classes."""
    draw = generator(seed, "logits")
    logits = scale * torch.randn(samples, classes, generator=draw)
    y = torch.randint(classes, (samples,), generator=draw)
    model = Staged(nn.Identity(), [], Fixed(logits), state_shapes=[(1,)], classes=classes)
    trace = model.run(torch.zeros(samples, 1), y, local=True)
    exact = logits.double()
    expected = exact.softmax(1) - F.one_hot(y, classes)
    torch.testing.assert_close(trace.error.double(), expected, rtol=1e-4, atol=2e-6)
    losses = F.cross_entropy(exact, y, reduction="none")
    torch.testing.assert_close(trace.loss.double(), losses, rtol=1e-5, atol=1e-5)
    assert trace.error.sum(1).abs().max() < 1e-5


@both
@pytest.mark.parametrize("state", range(DEPTH + 1))
def test_resume_is_the_rest_of_the_network(residual, state):
    model, (x, y) = network(residual=residual), batch()
    trace = model.run(x, y, local=True)
    torch.testing.assert_close(model.resume(state, trace.states[state]), trace.logits)
    h = torch.randn(SAMPLES, WIDTH, generator=generator(1, "h"), dtype=torch.float64)
    expected = h
    for block in model.blocks[state:]:
        expected = expected + block(expected) if residual else block(expected)
    torch.testing.assert_close(model.resume(state, h), model.head(expected))


@pytest.mark.parametrize("trainable", range(DEPTH + 1))
def test_freezing_leaves_the_last_blocks_the_stem_and_the_head(trainable):
    model = network()
    model.freeze_blocks(trainable)
    for l, block in enumerate(model.blocks):
        assert all(p.requires_grad == (l >= DEPTH - trainable) for p in block.parameters())
    for module in (model.stem, model.head):
        assert all(p.requires_grad for p in module.parameters())


@pytest.mark.parametrize("trainable", [-1, DEPTH + 1])
def test_a_number_of_blocks_that_are_not_there_is_refused(trainable):
    model = network()
    with pytest.raises(InputError, match=f"from 0 to {DEPTH}, got {trainable}"):
        model.freeze_blocks(trainable)
    assert all(p.requires_grad for p in model.parameters())


def test_state_shapes_must_fit_the_blocks():
    with pytest.raises(InputError, match=r"2 state shapes .* got 1"):
        Staged(nn.Identity(), [nn.Identity()], nn.Identity(), state_shapes=[(1,)], classes=1)


def test_a_run_leaves_gradients_and_global_chance_alone():
    model, (x, y) = network(), batch()
    before = torch.get_rng_state()
    kept = x.clone()
    model.run(x, y, local=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x, kept)
    assert all(p.grad is None for p in model.parameters())
