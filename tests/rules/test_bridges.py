"""The bridges against an exact costate, and what they learn from."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.core import spec
from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.core.trace import Trace
from faeval.models import ResMLP, Staged
from faeval.rules import RULES, CreditBridge, Feedback, Rule, StateBridge
from faeval.rules.base import terminal_gradient
from faeval.rules.credit_bridge import _consistency

N, WIDTH, DEPTH = 64, 8, 2
BRIDGES = [StateBridge(width=64, learning_rate=5e-3), CreditBridge(width=64, learning_rate=5e-3)]
each_bridge = pytest.mark.parametrize("rule", BRIDGES, ids=["state_bridge", "credit_bridge"])


class Control:
    """h ← h + W_l h from h_0 = x, and the cost ½‖h_L − y‖²: the costate in closed form."""

    def __init__(self, scale: float = 1.0) -> None:
        self.draw, self.scale = generator(0, "control"), scale
        self.weights = [
            0.5 * WIDTH**-0.5 * torch.randn(WIDTH, WIDTH, generator=self.draw) for _ in range(DEPTH)
        ]
        blocks = [nn.Linear(WIDTH, WIDTH, bias=False) for _ in self.weights]
        for block, weight in zip(blocks, self.weights, strict=True):
            block.weight.data = weight
        shapes = [(WIDTH,)] * (DEPTH + 1)
        head = nn.Identity()
        self.model = Staged(nn.Identity(), blocks, head, state_shapes=shapes, classes=WIDTH)

    def trace(self) -> Trace:
        x, y = self.scale * torch.randn(2, N, WIDTH, generator=self.draw)
        return self.model.run(x, y, local=True)

    def costates(self, trace: Trace) -> list[Tensor]:
        """p_l = (I + W_l)ᵀ p_{l+1}, p_L = h_L − y."""
        found = [trace.logits.detach() - trace.target]
        for weight in reversed(self.weights):
            found.append(found[-1] + found[-1] @ weight)
        return found[::-1]


def learned(rule: Rule, control: Control, steps: int) -> Feedback:
    feedback, noise = rule.init(control.model, generator(0, "feedback")), generator(0, "update")
    for _ in range(steps):
        teach(rule, control, feedback, control.trace(), noise)
    return feedback


def teach(
    rule: Rule, control: Control, feedback: Feedback, trace: Trace, noise: torch.Generator
) -> None:
    rule.update(
        control.model, trace, feedback, learning_rate=1e-3, weight_decay=0.01, generator=noise
    )


def cosines(rule: Rule, feedback: Feedback, control: Control) -> Tensor:
    trace = control.trace()
    pairs = zip(rule.credit(trace, feedback), control.costates(trace), strict=True)
    return torch.stack([F.cosine_similarity(a, p).mean() for a, p in pairs])


@each_bridge
def test_it_learns_the_costate_of_the_linear_quadratic_problem(rule):
    control = Control()
    untrained = cosines(rule, learned(rule, control, 0), control)
    feedback = learned(rule, control, 150)
    reached = cosines(rule, feedback, control)
    assert untrained[:DEPTH].abs().max() < 0.5
    assert reached.min() > 0.9, reached
    trace = control.trace()
    pairs = zip(rule.credit(trace, feedback), control.costates(trace), strict=True)
    ratios = torch.stack([a.norm() / p.norm() for a, p in pairs])
    assert ((ratios > 0.6) & (ratios < 1.5)).all(), ratios  # the right length, not only direction


@each_bridge
def test_what_it_learns_does_not_depend_on_the_scale_of_the_states(rule):
    scale = 2.0**14
    small, large = Control(), Control(scale)
    credits = [
        rule.credit(control.trace(), learned(rule, control, 15)) for control in (small, large)
    ]
    for a, b in zip(*credits, strict=True):
        torch.testing.assert_close(b / scale, a, rtol=1e-3, atol=1e-4)


def test_without_the_terminal_condition_the_value_learns_nothing(monkeypatch):
    """Consistency alone is pleased by a constant: it is the terminal condition that teaches."""
    rule, control = BRIDGES[1], Control()
    nothing = lambda trace, *_: trace.loss.detach() * 0  # noqa: E731
    monkeypatch.setattr("faeval.rules.credit_bridge._terminal", nothing)
    assert cosines(rule, learned(rule, control, 50), control).abs().max() < 0.5


def test_the_consistency_condition_compares_the_credits_of_neighbours():
    """(Δ_l − Δ_{l+1}) / 2 = ⟨a_l − (I + W_l)ᵀ a_{l+1}, ξ⟩ for small ξ, and so vanishes with it."""
    rule, control = BRIDGES[1], Control()
    feedback = {name: t.double() for name, t in learned(rule, control, 20).items()}
    control.model.double()
    x, y = torch.randn(2, N, WIDTH, generator=control.draw, dtype=torch.float64)
    trace = control.model.run(x, y, local=True)
    a, e = rule.credit(trace, feedback), feedback["value_scale"] * trace.error
    for l, weight in enumerate(control.weights):
        xi = 1e-4 * torch.randn(N, WIDTH, generator=control.draw, dtype=torch.float64)
        gap = _consistency(trace, l, feedback, feedback["scale"], e, xi) / 2
        expected = ((a[l] - a[l + 1] - a[l + 1] @ weight.double()) * xi).sum(1)
        torch.testing.assert_close(
            gap, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item()
        )


def test_the_state_bridge_starts_from_the_terminal_gradient_and_reports_its_error():
    rule, control = BRIDGES[0], Control()
    before, after = (learned(rule, control, steps) for steps in (1, 100))
    trace = control.trace()
    assert torch.equal(rule.credit(trace, before)[-1], terminal_gradient(trace))
    said = {d.name: d.value for d in rule.diagnostics(control.model, trace, after)}
    assert list(said) == [f"prediction error h{l}" for l in range(DEPTH)]
    for d in rule.diagnostics(control.model, trace, before):
        assert said[d.name] < 0.5 * d.value
    # The slow twin of the first: ‖P(h_0, 0) − h_L‖² / ‖h_L‖², layer by layer.
    h, scale = trace.states[0], after["scale"]
    z = F.gelu(h / scale[0] @ after[f"in{WIDTH}"].T + after["place"][0])
    z = F.gelu(z @ after["hidden"].T + after["hidden_bias"])
    P = scale[-1] * (z @ after["out"].T + after["out_bias"])
    last = trace.states[-1]
    literal = ((P - last).norm(dim=1) / last.norm(dim=1)).square().mean()
    assert said["prediction error h0"] == pytest.approx(literal.item(), rel=1e-5)


def test_the_credit_bridge_reports_how_well_it_meets_the_terminal_condition():
    rule, control = BRIDGES[1], Control()
    feedback = learned(rule, control, 60)
    trace = control.trace()
    a, g = rule.credit(trace, feedback)[-1], terminal_gradient(trace)
    literal = ((a - g).norm(dim=1) / g.norm(dim=1)).square().mean().item()
    (said,) = rule.diagnostics(control.model, trace, feedback)
    assert (said.name, said.value) == ("terminal error", pytest.approx(literal, rel=1e-4))
    assert 0 < literal < 1


@each_bridge
def test_a_sample_without_gradient_or_state_poisons_nothing(rule):
    control = Control()
    feedback, noise = learned(rule, control, 3), generator(1, "update")
    x = torch.randn(4, WIDTH, generator=control.draw)
    x[0] = 0
    y = control.model(x).detach()
    y[1:3] += 1
    teach(rule, control, feedback, control.model.run(x, y, local=True), noise)
    assert all(t.isfinite().all() for t in feedback.values())


@each_bridge
def test_states_of_different_shapes_have_an_input_of_their_own_and_huge_ones_are_refused(rule):
    def staged(shapes: list[tuple[int, ...]]) -> Staged:
        return Staged(nn.Identity(), [nn.Identity()], nn.Identity(), state_shapes=shapes, classes=3)

    feedback = rule.init(staged([(2, 3), (4,)]), generator(0, "feedback"))
    assert feedback["in6"].shape == (64, 6)
    assert feedback["in4"].shape == (64, 4)
    with pytest.raises(InputError, match="lower the width"):
        rule.init(staged([(1024, 1024), (4,)]), generator(0, "feedback"))


@pytest.mark.parametrize("name", ["state_bridge", "credit_bridge"])
@pytest.mark.parametrize("option", [{"width": 0}, {"learning_rate": 0.0}])
def test_options_out_of_range_are_refused(name, option):
    with pytest.raises(InputError, match=f"of rule '{name}'"):
        spec.build(RULES, {"name": name, **option})


@each_bridge
def test_missing_parts_of_the_predictor_are_an_error(rule):
    model = ResMLP(width=8, depth=2).build((6,), 3, generator(0, "weights"))
    feedback = rule.init(model, generator(0, "feedback"))
    trace = model.run(torch.ones(2, 6), torch.tensor([0, 1]), local=True)
    del feedback["hidden"]
    with pytest.raises(KeyError, match="hidden"):
        rule.credit(trace, feedback)
