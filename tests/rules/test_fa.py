"""Feedback alignment: exact with the true transposes, a literal twin, its scale and its start."""

from itertools import pairwise

import pytest
import torch
from rule_nets import (
    CLASSES,
    FEATURES,
    batch,
    double,
    feedback_of,
    literal_gradients,
    network,
)
from torch import Tensor, nn

from faeval.core.random import generator
from faeval.models import CNN, ResMLP, ResNet, Staged, ViTMini
from faeval.rules import FA, FALayer, Rule
from faeval.rules.transposes import weight_layers
from faeval.train.step import teach

IMAGES = (3, 8, 8)
NETWORKS = {
    "resmlp": ((FEATURES,), ResMLP(width=7, depth=3, w2_std=0.3)),
    "no residual": ((FEATURES,), ResMLP(width=7, depth=2, residual=False, w2_std=0.3)),
    "vit": (IMAGES, ViTMini(width=8, depth=2, heads=2, patch=4, mlp_ratio=2)),
    "cnn": (IMAGES, CNN(width=4, depth=2)),
    "resnet": (IMAGES, ResNet(width=4, depth=4)),
}


def built(name: str) -> tuple[Staged, Tensor, Tensor]:
    shape, config = NETWORKS[name]
    x, y = batch(5, shape)
    return config.build(shape, CLASSES, generator(0, "weights")).double(), x.double(), y


def gradients(model: Staged, rule: Rule, feedback, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """What the rule teaches every parameter, with a penalty."""
    model.zero_grad()
    trace = rule.run(model, feedback, x, y)
    teach(trace, None if rule.claims.end_to_end else rule.credit(trace, feedback), penalty=0.1)
    return {name: p.grad for name, p in model.named_parameters()}  # pyright: ignore[reportReturnType]


# --- from layer to layer -------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("start", ["gradient", "error"])
def test_with_the_weights_as_feedback_it_is_backpropagation(name, start):
    model, x, y = built(name)
    rule = FALayer(start=start)
    own = dict(model.named_modules())
    weights = {n: own[n].weight.detach().clone() for n in feedback_of(rule, model)}
    true = model.run(x, y, local=False)
    states = torch.autograd.grad(true.loss.sum(), true.states, retain_graph=True)
    model.zero_grad()
    teach(true, None, penalty=0.1)
    expected = {n: p.grad for n, p in model.named_parameters()}
    trace = rule.run(model, weights, x, y)
    for a, g in zip(rule.credit(trace, weights), states, strict=True):
        torch.testing.assert_close(a, g, rtol=1e-12, atol=1e-13)
    for n, g in gradients(model, rule, weights, x, y).items():
        torch.testing.assert_close(g, expected[n], rtol=1e-12, atol=1e-13, msg=n)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_replaces_every_weight_layer_of_the_blocks_and_from_the_error_of_the_head(name):
    model, *_ = built(name)
    blocks = {f"blocks.{n}": m.weight.shape for n, m in weight_layers(model.blocks).items()}
    head = {f"head.{n}".rstrip("."): m.weight.shape for n, m in weight_layers(model.head).items()}
    assert blocks
    for rule, expected in ((FALayer(), blocks), (FALayer(start="error"), blocks | head)):
        drawn = feedback_of(rule, model)
        assert {n: B.shape for n, B in drawn.items()} == expected


def test_layer_by_layer_as_its_literal_twin():
    """h ← h + W2 tanh(W1 h), float64: δ goes down by B2 and B1, and weights learn from it."""
    torch.manual_seed(0)
    n, d, hidden = 4, 3, 5

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1, self.w2 = nn.Linear(d, hidden), nn.Linear(hidden, d)

        def forward(self, h: Tensor) -> Tensor:
            return self.w2(torch.tanh(self.w1(h)))

    model = Staged(
        nn.Linear(FEATURES, d),
        [Plain(), Plain()],
        nn.Linear(d, CLASSES),
        state_shapes=[(d,)] * 3,
        classes=CLASSES,
    ).double()
    x, y = batch(n)
    x = x.double()
    for start in ("gradient", "error"):
        rule = FALayer(start=start)
        feedback = double(feedback_of(rule, model))
        h, inputs, hiddens = model.stem(x), [], []
        for block in model.blocks:
            inputs.append(h)
            hiddens.append(torch.tanh(block.w1(h)))
            h = h + block.w2(hiddens[-1])
        e = torch.softmax(model.head(h), 1)
        e[range(n), y] -= 1
        expected = {"head": (e, h)}
        delta = e @ (model.head.weight if start == "gradient" else feedback["head"])
        credits = [delta]
        for l in (1, 0):
            expected[f"blocks.{l}.w2"] = delta, hiddens[l]
            inner = (delta @ feedback[f"blocks.{l}.w2"]) * (1 - hiddens[l] ** 2)
            expected[f"blocks.{l}.w1"] = inner, inputs[l]
            delta = delta + inner @ feedback[f"blocks.{l}.w1"]
            credits.insert(0, delta)
        expected["stem"] = delta, x
        model.zero_grad()
        trace = rule.run(model, feedback, x, y)
        for a, b in zip(rule.credit(trace, feedback), credits, strict=True):
            torch.testing.assert_close(a, b.detach(), rtol=1e-12, atol=1e-14)
        teach(trace, None)
        for name, (out, into) in expected.items():
            layer = model.get_submodule(name)
            torch.testing.assert_close(layer.weight.grad, out.T @ into / n, rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(layer.bias.grad, out.sum(0) / n, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("layer", [nn.Linear(200, 300), nn.Conv2d(30, 40, 3, padding=1)])
def test_a_random_transpose_keeps_the_norm_of_an_error(layer):
    """‖Bᵀδ‖ = ‖δ‖ in expectation at scale 1: within 5 % over 30 errors through one B."""
    conv = isinstance(layer, nn.Conv2d)
    shape = (30, 20, 20) if conv else (200,)
    head = nn.Sequential(nn.Flatten(), nn.Linear(16_000 if conv else 300, CLASSES))
    model = Staged(
        nn.Identity(),
        [layer],
        head,
        state_shapes=[shape, (40, 20, 20) if conv else (300,)],
        classes=CLASSES,
        residual=False,
    )
    x, y = batch(30, shape)
    for scale in (1.0, 0.5):
        rule = FALayer(scale=scale)
        feedback = feedback_of(rule, model)
        trace = rule.run(model, feedback, x.requires_grad_(), y)
        below, above = (a.flatten(1).norm(dim=1).mean() for a in rule.credit(trace, feedback))
        # 3×3 kernels lose at the rim what would leave the image: 1 − 2/60 on each axis.
        kept = (1 - 2 / 60) if conv else 1.0
        assert (below / above).item() == pytest.approx(scale * kept, rel=0.05)


# --- from block to block -------------------------------------------------------------------


def test_on_linear_blocks_with_their_transposed_jacobians_it_is_backpropagation():
    """h ← h + W h: B_l = (I + W)ᵀ; and h ← W h of changing width: B_l = Wᵀ."""
    torch.manual_seed(0)
    rule, (x, y) = FA(), batch()
    x = x.double()
    for residual in (True, False):
        widths = [6, 6, 6, 6] if residual else [6, 3, 8, 4]
        model = Staged(
            nn.Linear(FEATURES, widths[0]),
            [nn.Linear(a, b) for a, b in pairwise(widths)],
            nn.Sequential(nn.LayerNorm(widths[-1]), nn.Linear(widths[-1], CLASSES)),
            state_shapes=[(w,) for w in widths],
            classes=CLASSES,
            residual=residual,
        ).double()
        jacobians = [
            b.weight.detach() + residual * torch.eye(*b.weight.shape) for b in model.blocks
        ]
        feedback = {f"B{l}": J.T for l, J in enumerate(jacobians)}
        assert {k: b.shape for k, b in feedback.items()} == {
            k: b.shape for k, b in feedback_of(rule, model).items()
        }
        trace = rule.run(model, feedback, x, y)
        for a, g in zip(rule.credit(trace, feedback), literal_gradients(model, x, y), strict=True):
            torch.testing.assert_close(a, g, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("start", ["gradient", "error"])
def test_block_by_block_as_its_literal_twin(start):
    model, (x, y) = network(), batch()
    rule = FA(start=start)
    feedback = feedback_of(rule, model)
    assert [*feedback] == ["B0", "B1", "B2"] + (["B3"] if start == "error" else [])
    trace = rule.run(model, feedback, x, y)
    credits = rule.credit(trace, feedback)
    if start == "gradient":
        torch.testing.assert_close(credits[-1], literal_gradients(model, x, y)[-1])
    for n in range(len(x)):
        a = feedback["B3"] @ trace.error[n] if start == "error" else credits[-1][n]
        for l in (3, 2, 1, 0):
            torch.testing.assert_close(credits[l][n], a)
            a = feedback[f"B{l - 1}"] @ a if l else a


def test_the_start_from_the_error_reads_no_weight_and_that_from_the_gradient_the_head():
    assert FA().claims.transports_weights == FALayer().claims.transports_weights == "head"
    for rule in (FA(start="error"), FALayer(start="error")):
        assert rule.claims.transports_weights == "nothing"


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_feedback_is_normal_with_the_width_above_as_its_variance(scale):
    model = Staged(
        nn.Linear(FEATURES, 300),
        [nn.Linear(300, 200)],
        nn.Linear(200, CLASSES),
        state_shapes=[(300,), (200,)],
        classes=CLASSES,
        residual=False,
    )
    feedback = feedback_of(FA(scale=scale, start="error"), model)
    for name, shape in (("B0", (300, 200)), ("B1", (200, CLASSES))):
        B = feedback[name]
        assert B.shape == shape
        z = B.double() * shape[1] ** 0.5 / scale
        assert abs(z.mean().item()) < 5 * z.numel() ** -0.5
        assert abs(z.var().item() - 1) < 5 * (2 / z.numel()) ** 0.5
        assert abs(z.pow(4).mean().item() - 3) < 5 * (96 / z.numel()) ** 0.5


# --- tokens and channels -------------------------------------------------------------------


def positions(a: Tensor) -> Tensor:
    """(N, C, H, W) or (N, T, d) as (N, P, d), written out."""
    if a.ndim == 3:
        return a
    return torch.stack([a[:, :, i, j] for i in range(a.shape[2]) for j in range(a.shape[3])], 1)


@pytest.mark.parametrize("name", ["vit", "cnn", "resnet"])
@pytest.mark.parametrize("start", ["gradient", "error"])
def test_each_position_is_told_by_a_matrix_of_positions_and_one_of_features(name, start):
    """a_l[p, i] = Σ_qj M[p, q] B[i, j] a_{l+1}[q, j]."""
    model, x, y = built(name)
    rule = FA(start=start)
    feedback = double(feedback_of(rule, model))
    credits = rule.credit(rule.run(model, feedback, x, y), feedback)
    for l, (a, above) in enumerate(pairwise(map(positions, credits))):
        M, B = feedback[f"M{l}"], feedback[f"B{l}"]
        assert M.shape == (a.shape[1], above.shape[1])
        expected = torch.einsum("pq,ij,nqj->npi", M, B, above)
        torch.testing.assert_close(a, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["vit", "cnn", "resnet"])
@pytest.mark.parametrize("start", ["gradient", "error"])
def test_broadcast_tells_every_position_the_same(name, start):
    model, x, y = built(name)
    rule = FA(tokens="broadcast", start=start)
    feedback = double(feedback_of(rule, model))
    trace = rule.run(model, feedback, x, y)
    *below, last = map(positions, rule.credit(trace, feedback))
    if start == "gradient":
        v = last.sum(1) / last.shape[1] ** 0.5
    else:
        v = trace.error @ feedback[f"B{len(below)}"].T
        torch.testing.assert_close(last, v[:, None].expand_as(last))
    for l in reversed(range(len(below))):
        v = torch.einsum("ij,nj->ni", feedback[f"B{l}"], v)
        torch.testing.assert_close(below[l], v[:, None].expand_as(below[l]))


@pytest.mark.parametrize("tokens", ["each", "broadcast"])
def test_a_class_token_tells_every_token_below(tokens):
    model, x, y = built("vit")
    rule = FA(tokens=tokens)
    feedback = double(feedback_of(rule, model))
    *below, last = rule.credit(rule.run(model, feedback, x, y), feedback)
    assert last[:, 0].norm() > 0
    assert not last[:, 1:].any()
    for a in below:
        assert a.norm(dim=-1).min() > 0


def test_no_state_s_credit_grows_or_fades():
    """‖a_l‖²/(P d) is the same at every l in expectation: within 25 %, 40 draws."""
    model = CNN(width=16, depth=2).build(IMAGES, CLASSES, generator(0, "weights"))
    x, y = batch(8, IMAGES)
    for tokens in ("each", "broadcast"):
        rule = FA(start="error", tokens=tokens)
        sizes = []
        for seed in range(40):
            feedback = feedback_of(rule, model, seed)
            credits = rule.credit(rule.run(model, feedback, x, y), feedback)
            sizes.append(torch.stack([a.square().mean() for a in credits]))
        mean = torch.stack(sizes).mean(0)
        torch.testing.assert_close(mean, mean[-1:].expand_as(mean), rtol=0.25, atol=0)


@pytest.mark.parametrize("tokens", ["each", "broadcast"])
def test_vectors_know_no_positions(tokens):
    model = network()
    assert [*feedback_of(FA(tokens=tokens), model)] == ["B0", "B1", "B2"]


def test_a_missing_matrix_is_an_error_and_never_the_weight_itself():
    rule, model, (x, y) = FALayer(), network(), batch()
    feedback = rule.init(model, generator(0, "feedback"))
    del feedback["blocks.1.w2"]
    with pytest.raises(KeyError, match=r"blocks\.1\.w2"):
        rule.run(model, feedback, x, y)
