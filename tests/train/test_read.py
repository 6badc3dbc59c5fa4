"""Reading a network in training: which credit is read where, and that nothing is disturbed."""

import copy
import math
from dataclasses import dataclass, fields, is_dataclass, replace

import pytest
import torch
from torch import Tensor

from faeval.core.random import generator
from faeval.models import CNN, ResMLP, Staged
from faeval.rules import BP, DFA, Claims
from faeval.train import fresh as fresh_module
from faeval.train import read as module
from faeval.train.read import initial_norms, read

DEPTH, N = 3, 40


def network() -> Staged:
    return ResMLP(width=12, depth=DEPTH, w2_std=0.3).build((9,), 4, generator(0, "weights"))


def batch() -> tuple[Tensor, Tensor]:
    draw = generator(0, "batch")
    return torch.randn(N, 9, generator=draw), torch.randint(4, (N,), generator=draw)


@pytest.mark.parametrize("credit_at", ["output", "input"])
def test_bp_reads_cosine_one_at_every_state_under_either_convention(credit_at):
    """A bug: with credit_at="input" the last state of BP was read with the gradient before it."""
    model = network()
    readings = read(model, BP(), {}, *batch(), credit_at=credit_at)
    assert [r.cosine_mean for r in readings] == pytest.approx([1.0] * (DEPTH + 1), abs=1e-6)


def test_input_convention_reads_the_last_state_with_the_feedback_before_it():
    model, rule = network(), DFA()
    feedback = rule.init(model, generator(0, "feedback"))
    swapped = feedback | {f"B{DEPTH}": feedback[f"B{DEPTH - 1}"]}
    at_input = read(model, rule, feedback, *batch(), credit_at="input")
    at_output = read(model, rule, swapped, *batch(), credit_at="output")
    assert [r.cosine_mean for r in at_input] == [r.cosine_mean for r in at_output]


def test_reading_equals_a_literal_twin_in_float64():
    model, rule = network(), DFA()
    feedback = rule.init(model, generator(0, "feedback"))
    x, y = batch()
    readings = read(model, rule, feedback, x, y)
    exact = copy.deepcopy(model).double()
    for n in range(3):
        trace = exact.run(x[n : n + 1].double(), y[n : n + 1], local=False)
        gradients = torch.autograd.grad(trace.loss.sum(), trace.states)
        for state, g in enumerate(gradients):
            a = feedback[f"B{state}"].double() @ trace.error[0]
            cosine = float(a @ g[0] / (a.norm() * g[0].norm()))
            assert readings[state].cosine_mean is not None
            single = read(model, rule, feedback, x[n : n + 1], y[n : n + 1], probe_images=0)
            assert single[state].cosine_mean == pytest.approx(cosine, abs=1e-5)
            assert single[state].reference_norm == pytest.approx(float(g.norm()), rel=1e-5)


def test_update_cosine_is_that_of_the_parameter_gradients():
    model, rule = network(), DFA()
    feedback = rule.init(model, generator(0, "feedback"))
    x, y = batch()
    readings = read(model, rule, feedback, x, y, probe_images=N)
    exact = copy.deepcopy(model).double()
    whole = exact.run(x.double(), y, local=False)
    local = exact.run(x.double(), y, local=True)
    stages = [exact.stem, *exact.blocks]
    for state, stage in enumerate(stages):
        parameters = list(stage.parameters())
        true = torch.autograd.grad(whole.loss.mean(), parameters, retain_graph=True)
        credit = local.error @ feedback[f"B{state}"].double().T
        taught = torch.autograd.grad(
            (local.states[state] * credit).sum() / N, parameters, retain_graph=True
        )
        a, b = (torch.cat([t.flatten() for t in ts]) for ts in (taught, true))
        expected = float(a @ b / (a.norm() * b.norm()))
        assert readings[state].update_cosine == pytest.approx(expected, abs=1e-5)


def test_probes_tell_the_controls_apart():
    model, rule = network(), DFA()
    feedback = rule.init(model, generator(0, "feedback"))
    for r in read(model, rule, feedback, *batch(), probe_images=N):
        assert r.probes is not None
        assert r.probes.rho_gradient == pytest.approx(1.0, abs=0.01)
        assert abs(r.probes.rho_random or 0.0) < 0.25
        assert (r.probes.nudge_gradient or 0.0) < 0
        assert [p.dtype for p in r.precisions] == ["float32", "bfloat16", "float16"]


def test_reading_leaves_the_model_and_the_global_generator_alone():
    model, rule = network(), DFA()
    feedback = rule.init(model, generator(0, "feedback"))
    model.train()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    read(model, rule, feedback, *batch())
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert all(p.grad is not None and bool((p.grad == 1).all()) for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@dataclass(frozen=True)
class DrawnDFA(DFA):
    """DFA that keeps quiet about its closed form, so that its null must be drawn."""

    @property
    def claims(self) -> Claims:
        return replace(DFA().claims, gaussian_in=None)


@pytest.mark.parametrize("credit_at", ["output", "input"])
def test_a_drawn_null_agrees_with_the_closed_form(credit_at):
    model, (x, y) = network(), batch()
    feedback = DFA().init(model, generator(0, "feedback"))
    closed, drawn = (
        read(model, rule, feedback, x, y, credit_at=credit_at, probe_images=0)
        for rule in (DFA(), DrawnDFA())
    )
    for ours, theirs in zip(drawn, closed, strict=True):
        assert ours.null is not None
        assert theirs.null is not None
        assert (ours.null.method, ours.null.draws) == ("monte-carlo", 100)
        assert ours.null.std == pytest.approx(theirs.null.std, rel=4 / 200**0.5)
        assert abs(ours.null.mean or 0.0) < 4 * (theirs.null.std or 0.0) / 10
        assert ours.null.p == pytest.approx(theirs.null.p, abs=0.2)
        assert (ours.null.p or 0) >= 1 / 101


def numbers(value) -> list:
    """Every number of nested readings, None where undefined."""
    if is_dataclass(value):
        return [leaf for f in fields(value) for leaf in numbers(getattr(value, f.name))]
    if isinstance(value, tuple | list):
        return [leaf for v in value for leaf in numbers(v)]
    return [value]


def assert_same(readings, expected, **tolerance) -> None:
    """Counts and words exactly, the rest to within `tolerance`."""
    for ours, theirs in zip(numbers(readings), numbers(expected), strict=True):
        close = pytest.approx(theirs, **tolerance) if isinstance(theirs, float) else theirs
        assert ours == close


@pytest.mark.parametrize("chunk", [1, 7, 16])
@pytest.mark.parametrize("rule", [DFA(), DrawnDFA(), BP()], ids=["dfa", "drawn", "bp"])
def test_a_reading_does_not_depend_on_the_chunk(rule, chunk, monkeypatch):
    model, (x, y) = network(), batch()
    x[5], x[11, 3] = 0.0, math.nan  # one sample is lost, wherever the chunks end
    feedback = rule.init(model, generator(0, "feedback"))
    whole, parts = [], []
    for size, readings in ((N, whole), (chunk, parts)):
        monkeypatch.setattr(module, "CHUNK", size)
        readings += read(model, rule, feedback, x, y, probe_images=0)
    assert [r.undefined for r in parts] == [1] * (DEPTH + 1)
    # float32 sums depend on the size of a product.
    assert_same(parts, whole, rel=1e-3, abs=2e-5)


def test_float64_readings_are_the_same_to_rounding_for_every_chunk(monkeypatch):
    model, (x, y) = network().double(), batch()
    feedback = {k: b.double() for k, b in DFA().init(model, generator(0, "feedback")).items()}
    readings = []
    for size in (N, 7):
        monkeypatch.setattr(module, "CHUNK", size)
        readings.append(read(model, DFA(), feedback, x.double(), y, probe_images=0))
    assert_same(*readings, rel=1e-9, abs=1e-12)


def rotated_to(model: Staged, feedback: dict[str, Tensor], x: Tensor, y: Tensor) -> None:
    """Make the feedback know the network: B_l = mean_n g_ln e_nᵀ, as training would tend to."""
    trace = model.run(x, y, local=False)
    for state, g in enumerate(torch.autograd.grad(trace.loss.sum(), trace.states)):
        feedback[f"B{state}"] = g.T @ trace.error / len(x)


@pytest.mark.parametrize("rule", [DFA(), DrawnDFA()], ids=["closed", "drawn"])
def test_trained_feedback_stands_above_the_null_and_a_fresh_draw_does_not(rule):
    model, (x, y) = network(), batch()
    feedback = rule.init(model, generator(0, "feedback"))
    rotated_to(model, feedback, x, y)
    readings = [read(model, rule, feedback, x, y, probe_images=0, seed=s) for s in (3, 3, 4)]
    assert readings[0] == readings[1]
    drawn = rule.fresh(model, generator(3, "fresh feedback"))
    as_fresh = read(model, rule, drawn, x, y, probe_images=0)
    for r, fresh, other in zip(readings[0], as_fresh, readings[2], strict=True):
        assert r.null is not None
        assert r.null.observed == pytest.approx(r.cosine_mean, abs=1e-9)
        assert (r.null.p or 0) < 0.02
        assert r.null.fresh == pytest.approx(fresh.cosine_mean, abs=1e-6)
        assert r.null.fresh_p == pytest.approx(fresh.null.p, abs=1e-6)
        assert r.null.fresh != other.null.fresh
    # Under the null, p-values are uniform: over states and seeds they are no smaller than chance.
    p = [r.null.fresh_p for of_seed in (readings[0], readings[2]) for r in of_seed]
    assert sum(p) / len(p) > 0.2


def test_a_drawn_null_is_over_the_images_it_names(monkeypatch):
    """The spread over feedback depends on the images: value and draws must share them."""
    monkeypatch.setattr(fresh_module, "NULL_IMAGES", 10)
    monkeypatch.setattr(module, "NULL_IMAGES", 10)
    model, (x, y), rule = network(), batch(), DrawnDFA()
    feedback = rule.init(model, generator(0, "feedback"))
    readings = read(model, rule, feedback, x, y, probe_images=0)
    few = read(model, rule, feedback, x[:10], y[:10], probe_images=0)
    for ours, theirs in zip(readings, few, strict=True):
        assert (ours.samples, ours.null.images) == (N, 10)
        assert ours.null == theirs.null
        assert ours.null.observed == pytest.approx(theirs.cosine_mean)


def test_initial_norms_are_means_over_samples():
    model, (x, y) = network(), batch()
    states = copy.deepcopy(model).double().run(x.double(), y, local=True).states
    expected = [h.norm(dim=1).mean().item() for h in states]
    assert initial_norms(model, x, y) == pytest.approx(expected, rel=1e-5)


def test_growth_since_the_start_does_not_take_untrained_batchnorm_for_the_identity():
    """Its running statistics are 0 and 1 before training: a CNN seemed to have grown 8-fold."""
    model = CNN(width=4).build((3, 16, 16), 10, generator(0, "model"))
    x, y = torch.randn(64, 3, 16, 16, generator=generator(0, "x")), torch.arange(64) % 10
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    training = copy.deepcopy(model).train().run(x, y, local=True).states
    expected = [h.flatten(1).norm(dim=1).mean().item() for h in training]
    assert initial_norms(model, x, y) == pytest.approx(expected, rel=1e-5)
    assert all(torch.equal(buffer, kept[name]) for name, buffer in model.named_buffers())
    evaluating = copy.deepcopy(model).eval().run(x, y, local=True).states[-1]
    assert expected[-1] > 3 * evaluating.flatten(1).norm(dim=1).mean().item()
