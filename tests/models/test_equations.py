"""Each architecture against its equations, written out; and the costate in closed form."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zoo import SAMPLES, batch, build

from faeval.core.random import generator
from faeval.data import Batches, linear_quadratic
from faeval.models import CNN, LQ, Student, costates
from faeval.models.layers import conv
from faeval.rules import BP, DFA
from faeval.train.adamw import AdamW
from faeval.train.loop import Score
from faeval.train.step import step

EPS = 1e-5


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


def layer_norm(h: Tensor, norm: nn.LayerNorm) -> Tensor:
    unit = (h - h.mean(-1, keepdim=True)) / (h.var(-1, correction=0, keepdim=True) + EPS).sqrt()
    return unit * norm.weight + norm.bias


def batch_norm(z: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """By the statistics of the batch."""
    axes = (0, 2, 3)
    unit = z - z.mean(axes, keepdim=True)
    unit = unit / (z.var(axes, correction=0, keepdim=True) + EPS).sqrt()
    return unit * norm.weight[:, None, None] + norm.bias[:, None, None]


def test_vit_head_by_head_and_token_by_token():
    model, (x, y) = build("vit-mini"), batch("vit-mini")
    trace, d, heads = model.run(x, y, local=False), 8, 2
    stem = model.stem
    for n in range(SAMPLES):
        rows = [stem.cls[0, 0]]
        for top in range(0, 4, 2):
            for left in range(0, 6, 2):
                patch = x[n, :, top : top + 2, left : left + 2].flatten()
                rows.append(stem.patches.weight.flatten(1) @ patch + stem.patches.bias)
        h = torch.stack(rows) + stem.positions[0]
        close(trace.states[0][n], h)
        for l, block in enumerate(model.blocks):
            z = layer_norm(h, block.norm1) @ block.attention.qkv.weight.T + block.attention.qkv.bias
            mixed = torch.zeros_like(h)
            for head in range(heads):
                columns = slice(head * d // heads, (head + 1) * d // heads)
                q, k, v = (part[:, columns] for part in z.split(d, dim=1))
                weights = (q @ k.T / math.sqrt(d // heads)).softmax(1)
                mixed[:, columns] = weights @ v
            middle = h + mixed @ block.attention.out.weight.T + block.attention.out.bias
            hidden = F.gelu(layer_norm(middle, block.norm2) @ block.w1.weight.T + block.w1.bias)
            h = middle + hidden @ block.w2.weight.T + block.w2.bias
            close(trace.states[l + 1][n], h)
        logits = model.head.linear.weight @ layer_norm(h, model.head.norm)[0]
        close(trace.logits[n], logits + model.head.linear.bias)


def test_the_head_of_vit_sees_the_class_token_alone():
    model, (x, y) = build("vit-mini"), batch("vit-mini")
    gradient = BP().credit(model.run(x, y, local=False), {})[-1]
    assert gradient[:, 0].abs().min() > 0
    assert not gradient[:, 1:].any()


def test_cnn_stage_by_stage():
    model, (x, y) = build("cnn"), batch("cnn")
    trace, h = model.run(x, y, local=False), x
    for stage, state in zip([model.stem, *model.blocks], trace.states, strict=True):
        z = batch_norm(F.conv2d(h, stage[0].weight, padding=1), stage[1]).clamp(min=0)
        h = z.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5))
        close(state, h)
    close(trace.logits, h.flatten(1) @ model.head[1].weight.T + model.head[1].bias)


def test_cnn_whose_states_are_not_normalised_stage_by_stage():
    config = CNN(width=3, depth=2, norm="before")
    model = config.build((2, 8, 16), 4, generator(0, "weights")).double()
    x, y = batch("cnn")
    trace, h = model.run(x, y, local=False), x
    for stage, state in zip([model.stem, *model.blocks], trace.states, strict=True):
        *norm, convolution, _ = stage
        z = batch_norm(h, norm[0]).clamp(min=0) if norm else h
        z = F.conv2d(z, convolution.weight, padding=1)
        h = z.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5))
        close(state, h)
    assert len(model.stem) == 2


@pytest.mark.parametrize(("norm", "power"), [("after", 0), ("before", 1)])
def test_the_states_of_a_cnn_grow_with_its_weights_unless_batchnorm_stands_behind_them(norm, power):
    model = CNN(width=3, depth=2, norm=norm).build((2, 8, 16), 4, generator(0, "weights")).double()
    x, y = batch("cnn")
    before = model.run(x, y, local=False).states
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight *= 1024
    for h, grown in zip(before, model.run(x, y, local=False).states, strict=True):
        # Not to the bit: BatchNorm adds its eps to the variance.
        assert grown.norm().item() == pytest.approx(h.norm().item() * 1024**power, rel=1e-3)


def test_resnet_block_by_block():
    model, (x, y) = build("resnet"), batch("resnet")
    assert model.residual == (True, False, True)
    trace = model.run(x, y, local=False)
    h = F.conv2d(x, model.stem.weight, padding=1)
    close(trace.states[0], h)
    for l, block in enumerate(model.blocks):
        down = l == 1
        z = batch_norm(h, block.norm1).clamp(min=0)
        f = F.conv2d(z, block.conv1.weight, stride=2 if down else 1, padding=1)
        f = F.conv2d(batch_norm(f, block.norm2).clamp(min=0), block.conv2.weight, padding=1)
        if down:
            P = block.projection.weight[:, :, 0, 0]
            h = torch.einsum("oc,nchw->nohw", P, z[:, :, ::2, ::2]) + f
        else:
            h = h + f
        close(trace.states[l + 1], h)
    pooled = batch_norm(h, model.head[0]).clamp(min=0).mean((2, 3))
    close(trace.logits, pooled @ model.head[4].weight.T + model.head[4].bias)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_student_block_by_block(alpha, residual):
    config = Student(width=6, depth=2, alpha=alpha, residual=residual)
    model = config.build((5,), 4, generator(0, "weights")).double()
    x, y = batch("student")
    trace = model.run(x, y, local=False)
    h = x @ model.stem[1].weight.T + model.stem[1].bias
    for block, after in zip(model.blocks, trace.states[1:], strict=True):
        z = h @ block.w1.weight.T + block.w1.bias
        f = ((1 - alpha) * z + alpha * z.tanh()) @ block.w2.weight.T + block.w2.bias
        h = h + f if residual else f
        close(after, h)
    close(trace.logits, h @ model.head.weight.T + model.head.bias)
    origin = model(torch.zeros_like(x))
    linear = torch.allclose(model(2 * x) - origin, 2 * (model(x) - origin), atol=1e-10)
    assert linear == (alpha == 0)


def test_convolutions_have_the_bounds_of_torch():
    torch.manual_seed(0)
    ours, theirs = conv(8, 200, 3, generator(0, "x")), nn.Conv2d(8, 200, 3)
    for field in ("weight", "bias"):
        a, b = getattr(ours, field), getattr(theirs, field)
        assert (a.shape, a.dtype, a.requires_grad) == (b.shape, b.dtype, True)
        assert a.abs().max().item() == pytest.approx(b.abs().max().item(), rel=0.02)
        assert a.std().item() == pytest.approx(b.std().item(), rel=0.1)


# --- the linear–quadratic problem ----------------------------------------------------------


def test_costates_are_the_products_of_the_transposed_dynamics():
    """Against autograd, and against the products written out, for real targets."""
    model, (x, y) = build("lq"), batch("lq")
    trace = model.run(x, y, local=False)
    found, identity = costates(model, trace), torch.eye(4, dtype=x.dtype)
    for p, g in zip(found, BP().credit(trace, {}), strict=True):
        close(p, g)
    final = x.T
    for block in model.blocks:
        final = (identity + block.weight) @ final
    close(trace.states[-1], final.T)
    for l, p in enumerate(found):
        product = identity
        for block in model.blocks[l:]:
            product = product @ (identity + block.weight).T
        close(p, (product @ (final - y.T)).T)
    assert not any(p.requires_grad for p in found)


def test_costates_of_class_labels_are_gradients_too():
    model, x = build("lq"), batch("lq")[0]
    trace = model.run(x, torch.arange(SAMPLES) % 4, local=False)
    for p, g in zip(costates(model, trace), BP().credit(trace, {}), strict=True):
        close(p, g)


def test_backpropagation_solves_it_and_nothing_trains_without_blocks():
    data = linear_quadratic()
    batches, test = Batches(data, data.train), Batches(data, data.test)
    for trainable in (0, 4):
        model = LQ().build(data.input_shape, data.classes, generator(0, "weights"))
        model.freeze_blocks(trainable)
        before = [p.clone() for p in model.parameters()]
        optimizer = AdamW({k: p for k, p in model.named_parameters() if p.requires_grad}, 0.01)
        for rule in (BP(), DFA()) if trainable == 0 else (BP(),) * 8:
            feedback, order = rule.init(model, generator(0, "feedback")), generator(0, "order")
            for x, y in batches.epoch(128, order):
                step(model, rule, feedback, optimizer, x, y, learning_rate=3e-3)
        score = Score()
        with torch.no_grad():
            for x, y in test.evaluate(500):
                score.add(model(x), y)
        if trainable:
            assert score.value > 0.994  # the noise of the targets allows 0.996
        else:
            assert score.value < 0.5
            assert all(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))
