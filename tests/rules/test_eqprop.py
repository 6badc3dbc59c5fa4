"""Equilibrium propagation against the gradient, a closed form, and its own stationarity."""

from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from faeval.core import spec
from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.core.trace import Trace
from faeval.models import ResMLP, Staged
from faeval.rules import BP, RULES, EqProp
from faeval.rules.eqprop import relax

N, FEATURES, WIDTH, DEPTH, CLASSES = 5, 6, 8, 3, 4
SETTLED = 40


def network(*, residual: bool = True, norm: bool = True) -> Staged:
    config = ResMLP(width=WIDTH, depth=DEPTH, residual=residual, terminal_norm=norm, w2_std=0.4)
    return config.build((FEATURES,), CLASSES, generator(0, "weights")).double()


def batch() -> tuple[Tensor, Tensor]:
    draw = generator(0, "batch")
    x = torch.randn(N, FEATURES, generator=draw).double()
    return x, torch.randint(CLASSES, (N,), generator=draw)


def linear_network() -> tuple[Staged, Tensor, Tensor]:
    """h ← h + W_l h with head C, inputs and real targets, all in float64."""
    draw = generator(0, "linear")
    blocks = [nn.Linear(WIDTH, WIDTH, bias=False).double() for _ in range(DEPTH)]
    head = nn.Linear(WIDTH, CLASSES, bias=False).double()
    for layer in (*blocks, head):
        nn.init.normal_(layer.weight, 0.0, 0.2, generator=draw)
    shapes = [(WIDTH,)] * (DEPTH + 1)
    model = Staged(nn.Identity(), blocks, head, state_shapes=shapes, classes=CLASSES)
    x = torch.randn(N, WIDTH, generator=draw).double()
    return model, x, torch.randn(N, CLASSES, generator=draw).double()


def gradients(model: Staged, x: Tensor, y: Tensor) -> list[Tensor]:
    return BP().credit(model.run(x.requires_grad_(), y, local=False), {})


def local(model: Staged) -> Trace:
    return model.run(*batch(), local=True)


def energy(trace: Trace, states: list[Tensor], nudge: float) -> Tensor:
    """E per sample, from the states alone."""
    pairs = zip(trace.maps[:-1], states[:-1], states[1:], strict=True)
    elastic = sum(0.5 * (after - f(before)).square().sum(1) for f, before, after in pairs)
    assert trace.loss_of is not None
    return elastic + nudge * trace.loss_of(trace.maps[-1](states[-1]))


smooth_networks = pytest.mark.parametrize(
    ("residual", "norm"), [(True, True), (True, False), (False, True), (False, False)]
)


@smooth_networks
def test_the_estimate_tends_to_the_gradient_with_the_square_of_beta(residual, norm):
    model = network(residual=residual, norm=norm)
    trace, exact = local(model), gradients(model, *batch())
    betas = torch.tensor([1e-3, 5e-4, 2.5e-4], dtype=torch.float64)
    errors = torch.stack(
        [
            torch.stack([(a - g).norm() / g.norm() for a, g in zip(credits, exact, strict=True)])
            for beta in betas.tolist()
            for credits in [EqProp(beta=beta, iterations=SETTLED).credit(trace, {})]
        ]
    )
    assert errors[-1].max() < 5e-3
    slopes = (errors[:-1] / errors[1:]).log2()
    assert (slopes[-1] - 2).abs().max() < 0.05, slopes
    assert (slopes - 2).abs().max() < 0.3, slopes


@smooth_networks
def test_the_relaxed_states_are_a_stationary_point_of_the_energy(residual, norm):
    """∂E/∂h_l by autograd on the literal energy vanishes for every l ≥ 1; h_0 is clamped and
    its pull is −∂E/∂h_0. The free states have energy zero at β = 0."""
    trace = local(network(residual=residual, norm=norm))
    free = [h.detach() for h in trace.states]
    assert energy(trace, free, 0.0).abs().max() < 1e-28
    for nudge in (5e-4, -5e-4):
        phase = relax(trace, nudge, iterations=SETTLED, step=1.0)
        states = [h.detach().requires_grad_() for h in phase.states]
        forces = torch.autograd.grad(energy(trace, states, nudge).sum(), states)
        assert torch.equal(phase.states[0], free[0])
        torch.testing.assert_close(forces[0], -phase.errors[0], rtol=1e-10, atol=1e-14)
        assert all(f.abs().max() < 1e-12 for f in forces[1:])
        assert (phase.states[-1] - free[-1]).norm() > 1e-5
        assert phase.residual.max() < 1e-9


@pytest.mark.parametrize("beta", [0.02, 0.2])
def test_a_linear_network_with_squared_loss_has_the_known_bias(beta):
    """a_L = (1 − β² (CᵀCK)²)⁻¹ g_L and a_l = A_lᵀ a_L, at no small β."""
    model, x, y = linear_network()
    trace = model.run(x, y, local=True)
    jacobians = [
        torch.eye(WIDTH, dtype=x.dtype) + cast(nn.Linear, block).weight for block in model.blocks
    ]
    below = [torch.eye(WIDTH, dtype=x.dtype)]  # A_L, A_{L-1}, … A_0
    for J in reversed(jacobians):
        below.append(below[-1] @ J)
    A = below[::-1]
    C = cast(nn.Linear, model.head).weight
    CCK = C.T @ C @ sum((a @ a.T for a in A[1:]), torch.zeros_like(A[0]))
    assert beta * torch.linalg.eigvals(CCK).abs().max() < 0.9
    bias = torch.linalg.inv(torch.eye(WIDTH, dtype=x.dtype) - beta**2 * CCK @ CCK)
    last = trace.error @ C @ bias.T
    for a, map_to_last in zip(EqProp(beta=beta, iterations=150).credit(trace, {}), A, strict=True):
        torch.testing.assert_close(a, (last @ map_to_last).detach(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("step", [1.0, 0.5])
def test_the_residual_starts_at_one_and_falls_with_the_iterations(step):
    trace = local(network())
    rounds = [0, 20, 40, 80, 160]
    residuals = torch.stack([relax(trace, -0.1, iterations=k, step=step).residual for k in rounds])
    torch.testing.assert_close(residuals[0], torch.ones(N, dtype=torch.float64))
    assert residuals.shape == (len(rounds), N)
    assert (residuals[1:3] < 0.5 * residuals[:2]).all()
    assert residuals[-1].max() < 1e-12


def test_a_relaxation_that_diverges_shows_it():
    trace = local(network())
    rule = EqProp(beta=50.0, iterations=20)
    median, largest = rule.diagnostics(network(), trace, {})
    assert "nudged phases after 23 iterations" in median.name
    assert median.value is None or median.value > 1
    assert median.exceeded
    assert not largest.exceeded
    fine = EqProp().diagnostics(network(), trace, {})
    assert all(d.value is not None and d.value < 0.1 for d in fine)
    assert not fine[0].exceeded


def test_its_account_leaves_out_samples_without_gradient():
    model, trace = network(), local(network())
    residual = torch.maximum(*(phase.residual for phase in EqProp().nudged(trace)))
    median, largest = EqProp().diagnostics(model, trace, {})
    assert median.value == pytest.approx(residual.median().item())
    assert largest.value == pytest.approx(residual.max().item())
    flat = replace(trace, loss_of=lambda logits: 0 * logits.sum(1))
    assert EqProp().diagnostics(model, flat, {}) == []


def test_the_nudge_survives_a_residual_stream_that_dwarfs_it():
    """States of 1e6 in float32, where a nudge of 1e-8 is far below their rounding."""
    torch.manual_seed(0)
    model = network().float()
    with torch.no_grad():
        stem = cast(nn.Linear, model.stem[1])  # pyright: ignore[reportIndexIssue]
        stem.weight *= 1e6
    x, y = batch()
    trace, exact = model.run(x.float(), y, local=True), gradients(model, x.float(), y)
    assert trace.states[-1].abs().median() > 1e5
    assert exact[-1].abs().max() < 1e-5
    for a, g in zip(EqProp().credit(trace, {}), exact, strict=True):
        torch.testing.assert_close(a, g, rtol=1e-3, atol=1e-3 * g.abs().max().item())


@pytest.mark.parametrize("option", [{"beta": 0.0}, {"beta": float("inf")}, {"iterations": -1},
                                    {"step": 1.5}, {"step": 0.0}])  # fmt: skip
def test_options_out_of_range_are_refused(option):
    with pytest.raises(InputError, match="of rule 'eqprop'"):
        spec.build(RULES, {"name": "eqprop", **option})
