"""Substituted transposes against autograd: the weight itself, and another matrix, as substitute."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.models.staged import Staged
from faeval.rules import FALayer
from faeval.rules.transposes import substituted

LINEAR = {
    "vectors": (nn.Linear(5, 3), (4, 5)),
    "no bias": (nn.Linear(5, 3, bias=False), (4, 5)),
    "tokens": (nn.Linear(5, 3), (4, 7, 5)),
    "tokens, no bias": (nn.Linear(5, 3, bias=False), (4, 7, 5)),
    "four axes": (nn.Linear(5, 3), (2, 3, 4, 5)),
}
CONV = {
    "plain": nn.Conv2d(4, 6, 3),
    "no bias": nn.Conv2d(4, 6, 3, bias=False),
    "stride": nn.Conv2d(4, 6, 3, stride=2),
    "stride that leaves a rest": nn.Conv2d(4, 6, 2, stride=3, padding=1),
    "padding": nn.Conv2d(4, 6, 3, padding=1),
    "oblong": nn.Conv2d(4, 6, (3, 1), stride=(1, 2), padding=(2, 0)),
    "dilation": nn.Conv2d(4, 6, 3, padding=2, dilation=2),
    "groups": nn.Conv2d(4, 6, 3, groups=2),
    "padded to the same size": nn.Conv2d(4, 6, 3, padding="same"),
    "padded to the same size, unevenly": nn.Conv2d(4, 6, (2, 4), padding="same", dilation=(3, 1)),
    "padded around": nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"),
}
CASES = {
    **{f"linear: {name}": case for name, case in LINEAR.items()},
    **{f"conv: {name}": (layer, (2, 4, 8, 7)) for name, layer in CONV.items()},
}
# torch warns that it pads unevenly.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")
every_case = pytest.mark.parametrize("case", CASES)


def layer_and_input(case: str) -> tuple[nn.Linear | nn.Conv2d, Tensor]:
    """The layer with float64 weights, and an input that requires a gradient."""
    layer, shape = CASES[case]
    draw = generator(0, case)
    layer.double().requires_grad_().zero_grad()
    for p in layer.parameters():
        nn.init.normal_(p, generator=draw)
    return layer, torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_()


def of(layer: nn.Module, x: Tensor, out: Tensor, delta: Tensor) -> dict[str, Tensor]:
    """Gradients of ⟨out, δ⟩ with respect to what requires one."""
    wanted = {"x": x, **dict(layer.named_parameters())}
    wanted = {name: t for name, t in wanted.items() if t.requires_grad}
    return dict(zip(wanted, torch.autograd.grad(out, list(wanted.values()), delta), strict=True))


def delta_for(out: Tensor) -> Tensor:
    return torch.randn(out.shape, generator=generator(1, "delta"), dtype=out.dtype)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-12, atol=1e-12, msg=name)


@every_case
def test_the_weight_as_its_own_substitute_is_backpropagation(case):
    layer, x = layer_and_input(case)
    out = layer(x)
    expected = of(layer, x, out, delta_for(out))
    with substituted({layer.weight: layer.weight.detach().clone()}):
        ours = layer(x)
    assert torch.equal(ours, out)
    same(of(layer, x, ours, delta_for(out)), expected)


@every_case
def test_another_matrix_changes_the_gradient_of_the_input_and_nothing_else(case):
    layer, x = layer_and_input(case)
    out = layer(x)
    expected = of(layer, x, out, delta_for(out))
    B = torch.randn(layer.weight.shape, generator=generator(2, "B"), dtype=torch.float64)
    with torch.no_grad():
        W = layer.weight.clone()
        layer.weight.copy_(B)
    expected["x"] = of(layer, x, layer(x), delta_for(out))["x"]
    with torch.no_grad():
        layer.weight.copy_(W)
    with substituted({layer.weight: B}):
        ours = layer(x)
    assert torch.equal(ours, out)
    same(of(layer, x, ours, delta_for(out)), expected)


@every_case
def test_a_function_delivers_the_gradient_of_the_input(case):
    layer, x = layer_and_input(case)
    expected = of(layer, x, layer(x), delta_for(layer(x)))
    expected["x"] = torch.randn(x.shape, generator=generator(3, "x"), dtype=torch.float64)
    if "padded" in case:  # it delivers to what the layer sees
        return
    with substituted({layer.weight: lambda shape: expected["x"].view(shape)}):
        ours = layer(x)
    same(of(layer, x, ours, delta_for(ours)), expected)


@every_case
@pytest.mark.parametrize("frozen", ["x", "weight", "bias"])
def test_what_needs_no_gradient_gets_none(case, frozen):
    layer, x = layer_and_input(case)
    named = {"x": x, **dict(layer.named_parameters())}
    if frozen not in named:
        return
    named[frozen].requires_grad_(False)
    out = layer(x)
    expected = of(layer, x, out, delta_for(out))
    assert frozen not in expected
    with substituted({layer.weight: layer.weight.detach().clone()}):
        ours = layer(x)
    same(of(layer, x, ours, delta_for(out)), expected)


def test_other_layers_and_later_passes_keep_their_transposes():
    torch.manual_seed(0)
    first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    x, B = torch.randn(5, 3, requires_grad=True), torch.randn(2, 4)
    with substituted({second.weight: B}):
        within = second(first(x))
    after = second(first(x))
    delta = torch.randn(5, 2)
    torch.testing.assert_close(
        torch.autograd.grad(after, x, delta)[0], delta @ second.weight @ first.weight
    )
    torch.testing.assert_close(torch.autograd.grad(within, x, delta)[0], delta @ B @ first.weight)


def test_a_weight_used_twice_is_replaced_at_both_places():
    torch.manual_seed(0)
    layer, B, x = nn.Linear(3, 3), torch.randn(3, 3), torch.randn(2, 3, requires_grad=True)
    with substituted({layer.weight: B}):
        out = layer(layer(x))
    delta = torch.randn(2, 3)
    torch.testing.assert_close(torch.autograd.grad(out, x, delta)[0], delta @ B @ B)


def test_nothing_is_left_behind_after_an_exception():
    layer, x = nn.Linear(3, 2), torch.randn(4, 3, requires_grad=True)
    with (
        pytest.raises(RuntimeError, match="on purpose"),
        substituted({layer.weight: torch.zeros(2, 3)}),
    ):
        raise RuntimeError("on purpose")
    (g,) = torch.autograd.grad(F.linear(x, layer.weight).sum(), x)
    assert g.abs().min() > 0


def test_arguments_by_name_do_not_escape():
    torch.manual_seed(0)
    linear, conv = nn.Linear(3, 2), nn.Conv2d(2, 3, 3)
    x = torch.randn(4, 3, requires_grad=True)
    images = torch.randn(4, 2, 6, 6, requires_grad=True)
    with substituted({linear.weight: torch.zeros(2, 3), conv.weight: torch.zeros(3, 2, 3, 3)}):
        for t, call in (
            (x, lambda: F.linear(x, linear.weight, bias=linear.bias)),
            (x, lambda: F.linear(input=x, weight=linear.weight)),
            (images, lambda: F.conv2d(images, conv.weight, groups=1, stride=2)),
            (images, lambda: F.conv2d(images, conv.weight, padding="valid")),
        ):
            (g,) = torch.autograd.grad(call().sum(), t)
            assert not g.any()


class HandWritten(nn.Module):
    """A block that multiplies by a matrix of its own, which no layer owns."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm([4])
        self.first = nn.Linear(4, 4)
        self.second = nn.Parameter(torch.eye(4))

    def forward(self, h: Tensor) -> Tensor:
        return self.first(self.norm(h)) @ self.second


def test_a_matrix_outside_of_a_layer_does_not_keep_its_transpose_unnoticed():
    model = Staged(
        nn.Linear(4, 4),
        [HandWritten()],
        nn.Linear(4, 3),
        state_shapes=[(4,)] * 2,
        classes=3,
        residual=True,
    )
    with pytest.raises(InputError, match=r"blocks\.0\.second"):
        FALayer().init(model, generator(0, "feedback"))
