"""Direct feedback alignment and its variants: moments, limits, and a literal twin."""

from math import prod

import pytest
import torch
from rule_nets import (
    CLASSES,
    DEPTH,
    FEATURES,
    batch,
    double,
    feedback_of,
    literal_gradients,
    network,
)
from torch import Tensor, nn

from faeval.core import spec
from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.models import CNN, ResMLP, Staged, ViTMini
from faeval.rules import DFA, RULES, DFALayer, DFAShared, DFASign, DFASparse
from faeval.train.step import teach

IMAGES = (3, 8, 8)


def vit() -> Staged:
    config = ViTMini(width=8, depth=2, heads=2, patch=4, mlp_ratio=2)
    return config.build(IMAGES, CLASSES, generator(0, "weights"))


def cnn() -> Staged:
    return CNN(width=4, depth=2).build(IMAGES, CLASSES, generator(0, "weights"))


# --- the matrices --------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 0.25, 3.0])
def test_gaussian_feedback_has_the_moments_of_its_distribution(scale):
    """Entries N(0, scale²/C): mean, variance and kurtosis to 5 standard errors."""
    rule, model = DFA(scale=scale), network(width=2_000, depth=1)
    feedback = feedback_of(rule, model)
    assert feedback.keys() == {"B0", "B1"}
    for B in feedback.values():
        assert B.shape == (2_000, CLASSES)
        z = (B.double() / (scale / CLASSES**0.5)).flatten()
        error = len(z) ** -0.5
        assert abs(z.mean().item()) < 5 * error
        assert abs(z.var().item() - 1) < 5 * 2**0.5 * error
        assert abs(z.pow(4).mean().item() - 3) < 5 * 96**0.5 * error
    stacked = torch.stack([B.flatten() for B in feedback.values()])
    assert abs(torch.corrcoef(stacked)[0, 1].item()) < 5 * 10_000**-0.5


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_no_scale_is_refused(scale):
    with pytest.raises(InputError, match="'scale' of rule 'dfa'"):
        spec.build(RULES, {"name": "dfa", "scale": scale})


def wide(classes: int) -> Staged:
    config = ResMLP(width=2_000, depth=1)
    return config.build((FEATURES,), classes, generator(0, "weights"))


def test_feedback_of_one_bit():
    for B in feedback_of(DFASign(), wide(CLASSES)).values():
        signs = B * CLASSES**0.5
        torch.testing.assert_close(signs.abs(), torch.ones_like(B))
        assert abs(signs.mean().item()) < 5 * B.numel() ** -0.5
        assert abs(torch.corrcoef(signs.T).triu(1)).max() < 5 * len(B) ** -0.5


@pytest.mark.parametrize(("density", "heard"), [(0.1, 1), (0.25, 2), (0.5, 5), (1.0, 10)])
def test_sparse_feedback_hears_its_share_of_outputs_at_the_variance_of_dfa(density, heard):
    classes, scale = 10, 2.0
    rule = DFASparse(density=density, scale=scale)
    for B in feedback_of(rule, wide(classes)).values():
        assert (B != 0).sum(1).eq(heard).all()
        rows = len(B)
        # Each output is heard by heard/C of the rows; the mean square of all entries is
        # scale²/C, whose estimate has the relative variance (3 C/heard − 1)/entries.
        share = (B != 0).double().mean(0)
        p = heard / classes
        assert (share - p).abs().max() <= 5 * (p * (1 - p) / rows) ** 0.5
        square = B.double().square().mean().item() / (scale**2 / classes)
        assert abs(square - 1) < 5 * ((3 / p - 1) / B.numel()) ** 0.5
        assert abs(B.double().mean().item()) < 5 * (scale**2 / classes / B.numel()) ** 0.5


def test_every_row_hears_at_least_one_output():
    for B in feedback_of(DFASparse(density=0.01), wide(CLASSES)).values():
        assert (B != 0).sum(1).eq(1).all()


@pytest.mark.parametrize("density", [0, -0.1, 1.1, float("nan")])
def test_a_density_that_is_none_is_refused(density):
    with pytest.raises(InputError, match="'density' of rule 'dfa_sparse'"):
        spec.build(RULES, {"name": "dfa_sparse", "density": density})


@pytest.mark.parametrize("tokens", ["each", "broadcast"])
def test_shared_feedback_is_one_matrix_of_which_states_take_the_first_rows(tokens):
    rule, model, (x, y) = DFAShared(tokens=tokens), cnn(), batch(4, IMAGES)
    feedback = feedback_of(rule, model)
    sizes = [prod(s) if tokens == "each" else s[0] for s in model.state_shapes]
    assert len({*sizes}) == 3
    assert {name: tuple(B.shape) for name, B in feedback.items()} == {"B": (max(sizes), CLASSES)}
    trace = rule.run(model, feedback, x, y)
    for a, rows in zip(rule.credit(trace, feedback), sizes, strict=True):
        a = a if tokens == "each" else a[:, :, 0, 0]
        torch.testing.assert_close(a.flatten(1), trace.error @ feedback["B"][:rows].T)


# --- credit --------------------------------------------------------------------------------


def test_it_equals_bp_where_it_says_so():
    """With B_l the transposed Jacobian of the logits at h_l, sample by sample."""
    model, (x, y) = network().double(), batch(3)
    x = x.double()
    for n, gradients in enumerate(zip(*literal_gradients(model, x, y), strict=True)):
        trace = DFA().run(model, {}, x[n : n + 1], y[n : n + 1])
        feedback = {
            f"B{l}": torch.autograd.functional.jacobian(
                lambda h, l=l: model.resume(l, h[None])[0], trace.states[l].detach()[0]
            ).T
            for l in range(DEPTH + 1)
        }
        for a, g in zip(DFA().credit(trace, feedback), gradients, strict=True):
            torch.testing.assert_close(a[0], g, rtol=1e-10, atol=1e-12)


def test_missing_feedback_is_an_error_and_never_replaced():
    model, (x, y) = network(), batch()
    feedback = feedback_of(DFA(), model)
    del feedback["B1"]
    with pytest.raises(KeyError, match="B1"):
        DFA().credit(DFA().run(model, {}, x, y), feedback)


@pytest.mark.parametrize("build", [vit, cnn])
@pytest.mark.parametrize("rule", [DFA, DFASign, DFASparse])
def test_each_has_a_row_for_every_element_and_broadcast_for_every_feature(rule, build):
    model, (x, y) = build(), batch(4, IMAGES)
    for l, shape in enumerate(model.state_shapes):
        features = shape[0] if len(shape) == 3 else shape[1]
        assert feedback_of(rule(), model)[f"B{l}"].shape == (prod(shape), CLASSES)
        assert feedback_of(rule(tokens="broadcast"), model)[f"B{l}"].shape == (features, CLASSES)
    for tokens in ("each", "broadcast"):
        r = rule(tokens=tokens)
        feedback = feedback_of(r, model)
        trace = r.run(model, feedback, x, y)
        for l, (a, shape) in enumerate(
            zip(r.credit(trace, feedback), model.state_shapes, strict=True)
        ):
            for index in torch.cartesian_prod(*map(torch.arange, shape))[::7].tolist():
                if tokens == "each":
                    row = int(torch.arange(prod(shape)).view(shape)[tuple(index)])
                else:
                    row = index[0] if len(shape) == 3 else index[1]
                expected = trace.error @ feedback[f"B{l}"][row]
                torch.testing.assert_close(a[(slice(None), *index)], expected)


@pytest.mark.parametrize("name", ["dfa", "dfa_layer", "dfa_shared"])
def test_rows_that_positions_share_are_no_closed_form(name):
    assert spec.build(RULES, name).claims.gaussian_in == "error"
    broadcast = spec.build(RULES, {"name": name, "tokens": "broadcast"})
    assert broadcast.claims.gaussian_in is None


# --- to every layer ------------------------------------------------------------------------


class Plain(nn.Module):
    """f(h) = W2 tanh(W1 h + b1) + b2."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, h: Tensor) -> Tensor:
        return self.w2(torch.tanh(self.w1(h)))


def test_every_layer_is_taught_as_its_literal_twin():
    """h ← h + W2 tanh(W1 h), float64: all gradients written out by hand."""
    torch.manual_seed(0)
    n, d, hidden = 4, 3, 5
    model = Staged(
        nn.Linear(FEATURES, d),
        [Plain(d, hidden), Plain(d, hidden)],
        nn.Sequential(nn.Linear(d, 6), nn.Tanh(), nn.Linear(6, CLASSES)),
        state_shapes=[(d,)] * 3,
        classes=CLASSES,
    ).double()
    x, y = batch(n)
    x = x.double()
    rule = DFALayer()
    feedback = double(feedback_of(rule, model))
    shapes = {"B0": d, "B1": d, "B2": d, "head.0": d, "head.2": 6}
    for l in (0, 1):
        shapes |= {f"blocks.{l}.w1": d, f"blocks.{l}.w2": hidden}
    assert {k: tuple(B.shape) for k, B in feedback.items()} == {
        k: (rows, CLASSES) for k, rows in shapes.items()
    }
    trace = rule.run(model, feedback, x, y)
    penalty = 0.3
    teach(trace, rule.credit(trace, feedback), penalty=penalty)

    h = x @ model.stem.weight.T + model.stem.bias
    expected: dict[str, Tensor] = {}
    inputs, hiddens, branches = [], [], []
    for block in model.blocks:
        inputs.append(h)
        hiddens.append(torch.tanh(h @ block.w1.weight.T + block.w1.bias))
        branches.append(hiddens[-1] @ block.w2.weight.T + block.w2.bias)
        h = h + branches[-1]
    z = torch.tanh(h @ model.head[0].weight.T + model.head[0].bias)
    logits = z @ model.head[2].weight.T + model.head[2].bias
    e = torch.softmax(logits, 1)
    e[range(n), y] -= 1
    e = e / n

    def teaches(name: str, delta: Tensor, inputs: Tensor) -> None:
        expected[f"{name}.weight"] = delta.T @ inputs
        expected[f"{name}.bias"] = delta.sum(0)

    teaches("stem", e @ feedback["B0"].T, x)
    for l in (0, 1):
        to_output = e @ feedback[f"B{l + 1}"].T + 2 * penalty * branches[l] / n
        teaches(f"blocks.{l}.w2", to_output, hiddens[l])
        to_hidden = (e @ feedback[f"blocks.{l}.w2"].T) * (1 - hiddens[l] ** 2)
        teaches(f"blocks.{l}.w1", to_hidden, inputs[l])
    teaches("head.0", (e @ feedback["head.2"].T) * (1 - z**2), h)
    teaches("head.2", e, z)
    assert expected.keys() == dict(model.named_parameters()).keys()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, expected[name], rtol=1e-12, atol=1e-14)


def test_credit_that_equals_the_gradient_teaches_every_layer_as_backpropagation():
    """One sample, B_i e_T the true gradient at every weight layer's input: exact throughout,
    LayerNorm's gain and bias included."""
    model, (x, y) = network().double(), batch(1)
    x = x.double()
    inputs: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda module, args: inputs.update({name: args[0]})

    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    hooks = [m.register_forward_pre_hook(keep(n)) for n, m in layers.items()]
    true = model.run(x, y, local=False)
    for hook in hooks:
        hook.remove()
    del inputs["stem.1"]
    wanted = {f"B{l}": h for l, h in enumerate(true.states)} | inputs
    gradients = torch.autograd.grad(true.loss.sum(), list(wanted.values()), retain_graph=True)
    true.loss.mean().backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    rule = DFALayer()
    # g eᵀ/‖e‖² maps e to g.
    feedback = {
        name: g.flatten()[:, None] * true.error / true.error.square().sum()
        for name, g in zip(wanted, gradients, strict=True)
    }
    assert feedback.keys() == feedback_of(rule, model).keys()
    trace = rule.run(model, feedback, x, y)
    teach(trace, rule.credit(trace, feedback))
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, expected[name], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("tokens", ["each", "broadcast"])
def test_layers_on_tokens_have_rows_for_what_they_see(tokens):
    feedback = feedback_of(DFALayer(tokens=tokens), vit())
    count = 5 if tokens == "each" else 1  # 4 patches and the class token
    assert feedback["blocks.0.attention.qkv"].shape == (count * 8, CLASSES)
    assert feedback["blocks.1.w2"].shape == (count * 16, CLASSES)
    assert feedback["head.linear"].shape == (8, CLASSES)


class Folded(nn.Module):
    """A block that takes the tokens of all samples as one long batch."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Linear(3, 3)

    def forward(self, h: Tensor) -> Tensor:
        return self.w(h.flatten(0, 1)).view_as(h)


def test_a_layer_that_does_not_see_samples_is_refused():
    model = Staged(
        nn.Unflatten(1, (2, 3)),
        [Folded()],
        nn.Sequential(nn.Flatten(), nn.Linear(6, CLASSES)),
        state_shapes=[(2, 3)] * 2,
        classes=CLASSES,
    )
    with pytest.raises(InputError, match=r"'blocks\.0\.w'"):
        feedback_of(DFALayer(), model)
