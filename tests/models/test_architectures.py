"""What every registered architecture must do, and the shapes and counts of each."""

import copy

import pytest
import torch
from torch import Tensor
from zoo import CLASSES, SAMPLES, ZOO, batch, build

from faeval.core import spec
from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.core.trial import Recipe, Trial
from faeval.measurement.reference import reference
from faeval.models import MODELS, Staged
from faeval.models.staged import losses
from faeval.records.store import read_tensors, write_tensors
from faeval.rules import BP, DFA
from faeval.train.adamw import AdamW
from faeval.train.read import read
from faeval.train.state import TrainState, fresh, restore, snapshot
from faeval.train.step import step, teach

every = pytest.mark.parametrize("name", list(MODELS))
normalised = pytest.mark.parametrize("name", ["cnn", "resnet"])


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def buffers(model: Staged) -> dict[str, Tensor]:
    return {name: b.clone() for name, b in model.named_buffers()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@every
def test_shapes_and_the_number_of_parameters(name):
    small, model = ZOO[name], build(name)
    assert spec.build(MODELS, spec.describe(MODELS, small.config)) == small.config
    assert len(model.blocks) == small.config.depth
    assert model.classes == CLASSES
    assert list(model.state_shapes) == small.states
    assert sum(p.numel() for p in model.parameters()) == small.parameters
    trace = model.run(*batch(name), local=True)
    assert [tuple(h.shape) for h in trace.states] == [(SAMPLES, *s) for s in small.states]
    assert trace.logits.shape == trace.error.shape == (SAMPLES, CLASSES)


@every
def test_weights_come_from_the_generator_alone(name):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build(name).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(build(name).state_dict(), first)
    other = build(name, seed=1)
    assert not any(torch.equal(p, first[key]) for key, p in other.named_parameters())


@every
def test_a_local_and_a_whole_run_have_the_same_numbers(name):
    """In training mode: BatchNorm takes the statistics of the same batch in both."""
    model, (x, y) = build(name), batch(name)
    local, whole = (model.run(x, y, local=local) for local in (True, False))
    for field in ("states", "branches"):
        for a, b in zip(getattr(local, field), getattr(whole, field), strict=True):
            close(a, b)
    for field in ("logits", "loss", "error"):
        close(getattr(local, field), getattr(whole, field))


@every
def test_credits_that_are_the_gradients_teach_what_backpropagation_teaches(name):
    """At every number of trainable blocks; each run counts once in the running statistics."""
    (x, y), depth = batch(name), ZOO[name].config.depth
    for trainable in range(depth + 1):
        whole = build(name)
        whole.freeze_blocks(trainable)
        local = copy.deepcopy(whole)
        trace = whole.run(x, y, local=False)
        credits = BP().credit(trace, {})
        teach(trace, None)
        teach(local.run(x, y, local=True), credits)
        for (key, p), q in zip(whole.named_parameters(), local.parameters(), strict=True):
            assert (p.grad is None) == (q.grad is None) == (not p.requires_grad), key
            if p.grad is not None and q.grad is not None:
                assert p.grad.any(), key
                scale = p.grad.abs().max().item()
                torch.testing.assert_close(q.grad, p.grad, rtol=0, atol=1e-10 * max(scale, 1e-3))
        assert same(buffers(whole), buffers(local))
        counts = [int(b) for key, b in whole.named_buffers() if key.endswith("tracked")]
        assert counts == [1] * len(counts)


@every
@pytest.mark.parametrize("training", [True, False])
def test_maps_are_the_stages_and_write_to_no_buffer(name, training):
    model, (x, y) = build(name).train(training), batch(name)
    trace = model.run(x, y, local=False)
    before = buffers(model)
    for l, (h, after) in enumerate(zip(trace.states, trace.states[1:], strict=False)):
        close(trace.maps[l](h), after)
    close(trace.maps[-1](trace.states[-1]), trace.logits)
    assert len(trace.maps) == len(model.blocks) + 1
    assert same(buffers(model), before)


@every
def test_a_frozen_block_keeps_its_parameters(name):
    model, (x, y) = build(name), batch(name)
    model.freeze_blocks(0)
    before = copy.deepcopy(model.state_dict())
    optimizer = AdamW({k: p for k, p in model.named_parameters() if p.requires_grad}, 0.5)
    for rule in (BP(), DFA()):
        feedback = {k: b.double() for k, b in rule.init(model, generator(0, "B")).items()}
        for _ in range(2):
            step(model, rule, feedback, optimizer, x, y, learning_rate=0.01, penalty=0.01)
    for key, p in model.named_parameters():
        assert torch.equal(p, before[key]) == key.startswith("blocks."), key


@normalised
def test_running_statistics_of_frozen_blocks_follow_the_data(name):
    model, (x, y) = build(name), batch(name)
    model.freeze_blocks(0)
    before = buffers(model)
    model.run(x, y, local=True)
    moved = {key for key, b in model.named_buffers() if not torch.equal(b, before[key])}
    assert moved == set(before)
    assert any(key.startswith("blocks.") for key in moved)


@every
def test_the_reference_is_the_gradient_sample_by_sample(name):
    model, (x, y) = build(name), batch(name)
    model.run(x, y, local=True)  # running statistics other than 0 and 1
    before = buffers(model)

    def forward(module, x, y):
        trace = module.run(x, y, local=False)
        return trace.states, trace.loss

    found = reference(forward, model, x, y).exact
    assert same(buffers(model), before)
    model.eval()
    for n in range(SAMPLES):
        h = model.stem(x[n : n + 1]).detach().requires_grad_()
        states = [h]
        for block, residual in zip(model.blocks, model.residual, strict=True):
            h = h + block(h) if residual else block(h)
            states.append(h)
        loss = losses(model.head(h), y[n : n + 1]).sum()
        for g, exact in zip(found, torch.autograd.grad(loss, states), strict=True):
            close(g[n], exact[0])


@every
def test_it_is_read_with_every_probe(name):
    """Half precisions, forward mode and updates included; the model stays as it was."""
    model = build(name).float()
    x, y = batch(name, samples=12)
    x, y = x.float(), y.float() if y.is_floating_point() else y
    model.run(x, y, local=True)
    before = copy.deepcopy(model.state_dict())
    feedback = DFA().init(model, generator(0, "feedback"))
    readings = read(model, DFA(), feedback, x, y, probe_images=8)
    assert same(dict(model.state_dict()), dict(before))
    for reading in readings:
        assert reading.cosine_mean is not None
        assert reading.probes is not None
        assert reading.probes.rho_gradient is not None
        assert reading.probes.rho_gradient > 0.5
        assert len(reading.precisions) >= 3
    exact = read(model, BP(), {}, x, y, probe_images=8)
    assert all(r.cosine_mean == pytest.approx(1, abs=1e-5) for r in exact)


def state_of(name: str) -> TrainState:
    small = ZOO[name]
    trial = Trial(
        data="none", model=spec.describe(MODELS, small.config), rule={"name": "dfa"},
        trainable_blocks=1, recipe=Recipe(), seed=3,
    )  # fmt: skip
    return fresh(trial, small.input_shape, CLASSES, torch.device("cpu"))


def advance(state: TrainState, name: str, seed: int) -> None:
    x, y = (t.float() if t.is_floating_point() else t for t in batch(name, seed=seed))
    step(state.model, state.rule, state.feedback, state.optimizer, x, y, learning_rate=1e-2)


@every
def test_a_checkpoint_brings_back_every_bit(name, tmp_path):
    """Running statistics and their int64 counters too: the next step is the same."""
    state, again = state_of(name), state_of(name)
    for seed in range(3):
        advance(state, name, seed)
    tensors, position = snapshot(state)
    write_tensors(tmp_path / "checkpoint", tensors, position)
    restore(again, *read_tensors(tmp_path / "checkpoint"))
    assert same(snapshot(again)[0], snapshot(state)[0])
    advance(state, name, 9)
    advance(again, name, 9)
    assert same(snapshot(again)[0], snapshot(state)[0])


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("vit-mini", (64,), "images"),
        ("cnn", (64,), "images"),
        ("resnet", (64,), "images"),
        ("vit-mini", (3, 30, 32), "multiples of 4"),
        ("cnn", (3, 28, 28), "multiples of 8"),
        ("resnet", (1, 30, 32), "multiples of 4"),
        ("lq", (5,), "as many targets as inputs"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(name, shape, said):
    with pytest.raises(InputError, match=said):
        spec.build(MODELS, name).build(shape, CLASSES, generator(0, "weights"))


def test_heads_must_divide_the_width():
    with pytest.raises(InputError, match="multiple of heads"):
        spec.build(MODELS, {"name": "vit-mini", "width": 10, "heads": 4})
