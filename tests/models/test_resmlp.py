"""ResMLP against a literal twin, and how it is initialised."""

import pytest
import torch
from torch import Tensor

from faeval.core import spec
from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.models import MODELS, ResMLP, Staged
from faeval.models.layers import linear


def build(shape: tuple[int, ...] = (2, 3, 2), classes: int = 4, seed: int = 0, **options) -> Staged:
    config = ResMLP(**({"width": 7, "depth": 3, "w2_std": 0.3} | options))
    return config.build(shape, classes, generator(seed, "weights"))


def layer_norm(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return (h - h.mean()) / (h.var(correction=0) + 1e-5).sqrt() * weight + bias


def gelu(z: Tensor) -> Tensor:
    return z * 0.5 * (1 + torch.erf(z / 2**0.5))


def twin(w: dict[str, Tensor], sample: Tensor, residual: bool, norm: bool) -> Tensor:
    """Logits of one sample, from the equations and the named parameters."""
    h = w["stem.1.weight"] @ sample.flatten() + w["stem.1.bias"]
    for l in range(3):
        block = {k.removeprefix(f"blocks.{l}."): p for k, p in w.items()}
        z = layer_norm(h, block["norm.weight"], block["norm.bias"])
        f = gelu(block["w1.weight"] @ z + block["w1.bias"])
        f = block["w2.weight"] @ f + block["w2.bias"]
        h = h + f if residual else f
    if norm:
        h = layer_norm(h, w["head.0.weight"], w["head.0.bias"])
    head = "head.1" if norm else "head"
    return w[f"{head}.weight"] @ h + w[f"{head}.bias"]


def unusual(**options) -> Staged:
    """In float64, with no parameter at a special value such as 0 or 1."""
    model = build(**options).double()
    draw = generator(1, "noise")
    with torch.no_grad():
        for p in model.parameters():
            p += 0.2 * torch.randn(p.shape, generator=draw, dtype=p.dtype)
    return model


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("graph", [True, False])
def test_forward_equals_its_literal_twin(residual, norm, graph):
    model = unusual(residual=residual, terminal_norm=norm)
    x = torch.randn(5, 2, 3, 2, generator=generator(1, "x"), dtype=torch.float64)
    with torch.set_grad_enabled(graph):
        found = model(x)
    for sample, logits in zip(x, found, strict=True):
        expected = twin(dict(model.named_parameters()), sample, residual, norm)
        torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("special", ["none", "zero gain", "zero bias"])
def test_a_block_and_all_its_gradients_equal_the_equation(graph, special):
    """With an input that needs a gradient and with one that does not: W2 · gelu(W1 · LN(h))."""
    block = unusual().blocks[1]
    with torch.no_grad():
        block.norm.weight *= special != "zero gain"
        block.norm.bias *= special != "zero bias"
    draw = generator(1, "h")
    h, a = torch.randn(2, 5, 7, generator=draw, dtype=torch.float64)
    h.requires_grad_(graph)
    rows = []
    for sample in h:
        z = layer_norm(sample, block.norm.weight, block.norm.bias)
        rows.append(block.w2.weight @ gelu(block.w1.weight @ z + block.w1.bias) + block.w2.bias)
    wanted = [*block.parameters(), *([h] if graph else [])]
    expected, found = torch.stack(rows), block(h)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for ours, exact in zip(
        torch.autograd.grad(found, wanted, a), torch.autograd.grad(expected, wanted, a), strict=True
    ):
        torch.testing.assert_close(ours, exact, rtol=1e-11, atol=1e-12)


def test_the_published_network_has_its_number_of_parameters():
    model = ResMLP().build((3, 32, 32), 10, generator(0, "weights"))
    assert sum(p.numel() for p in model.parameters()) == 1_318_154
    assert model.state_shapes == ((256,),) * 5
    assert model.classes == 10
    assert all(model.residual)


@pytest.mark.parametrize(("norm", "residual", "extra"), [(True, True, 14), (False, False, 0)])
def test_options_change_what_they_name(norm, residual, extra):
    model = build(terminal_norm=norm, residual=residual)
    block = 2 * 7 + 2 * (7 * 7 + 7)
    expected = (12 * 7 + 7) + 3 * block + extra + (7 * 4 + 4)
    assert sum(p.numel() for p in model.parameters()) == expected
    assert model.residual == (residual,) * len(model.blocks)


def test_initial_weights_have_their_distributions():
    """W2 ~ N(0, 0.01²) with zero bias; the others uniform within 1/√inputs; LN is neutral."""
    model = ResMLP().build((3, 32, 32), 10, generator(0, "weights"))
    for block in model.blocks:
        w2 = block.w2.weight.detach().flatten() / 0.01
        error = len(w2) ** -0.5
        assert abs(w2.mean().item()) < 5 * error
        assert abs(w2.var().item() - 1) < 5 * 2**0.5 * error
        assert abs(w2.pow(4).mean().item() - 3) < 5 * 96**0.5 * error
        assert not block.w2.bias.any()
    uniform = {"stem": (model.stem[1], 3072), "head": (model.head[1], 256)}
    uniform |= {f"block {l}": (block.w1, 256) for l, block in enumerate(model.blocks)}
    for name, (layer, inputs) in uniform.items():
        u = layer.weight.detach().flatten() * inputs**0.5
        error = len(u) ** -0.5
        assert u.abs().max() <= 1 + 1e-6, name
        assert u.abs().max() > 0.99, name
        assert abs(u.mean().item()) < 5 * 3**-0.5 * error, name
        assert abs(u.var().item() - 1 / 3) < 5 * (4 / 45) ** 0.5 * error, name
        assert layer.bias.abs().max() <= inputs**-0.5 * (1 + 1e-6), name
        assert layer.bias.std() > 0.3 * inputs**-0.5, name
    for norm in (model.head[0], *(block.norm for block in model.blocks)):
        assert (norm.weight == 1).all()
        assert not norm.bias.any()


def test_bounds_are_those_of_torch():
    """The default initialisation of nn.Linear: the same bounds for weight and bias."""
    torch.manual_seed(0)
    ours, theirs = linear(64, 500, generator(0, "x")), torch.nn.Linear(64, 500)
    for name in ("weight", "bias"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert a.requires_grad
        assert a.abs().max().item() == pytest.approx(b.abs().max().item(), rel=0.02)
        assert a.std().item() == pytest.approx(b.std().item(), rel=0.1)


def test_weights_come_from_the_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build().state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = build().state_dict(), build(seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    changed = {name for name in first if not torch.equal(first[name], other[name])}
    assert changed == {n for n in first if "norm" not in n and n.split(".", 1)[1] != "0.weight"} - {
        n for n in first if n.endswith("w2.bias") or n.startswith("head.0.")
    }


def test_a_seed_keeps_its_weights():
    """Pinned: a change here changes what every recorded seed means."""
    model = build()
    assert model.stem[1].weight[0, :2].tolist() == pytest.approx(PINNED["stem"], rel=1e-6)
    assert model.blocks[2].w2.weight[0, :2].tolist() == pytest.approx(PINNED["w2"], rel=1e-5)
    assert model.head[1].bias[:2].tolist() == pytest.approx(PINNED["bias"], rel=1e-6)


PINNED = {
    "stem": [0.11232957243919373, -0.11965064704418182],
    "w2": [0.05107036232948303, -0.24537427723407745],
    "bias": [0.14363262057304382, 0.06356898695230484],
}


@pytest.mark.parametrize(
    "options",
    [{"width": 0}, {"depth": 0}, {"depth": 1.5}, {"w2_std": -1}, {"w2_std": float("inf")}],
)
def test_options_out_of_range_are_refused(options):
    (option,) = options
    with pytest.raises(InputError, match=f"'{option}' of model 'resmlp'"):
        spec.build(MODELS, {"name": "resmlp", **options})
