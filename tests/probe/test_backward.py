"""credits="backward": libraries that replace autograd, read without changing a line of theirs."""

import copy

import pytest
import torch
from probe_nets import (
    CLASSES,
    CNN,
    NETS,
    FANet,
    HookedDFA,
    PlainMLP,
    by_hand,
    cosines,
    draw,
    finding,
    labels,
    settle,
)
from torch import nn
from torch.nn import functional as F

from faeval.core.errors import InputError
from faeval.probe import measure
from faeval.probe.differences import central_differences
from faeval.probe.states import Tap

N = 12


def batch(n=N):
    return draw(n, 5, seed=1), labels(n)


def read(net, **options):
    options = {"states": net.STATES, "batch": batch(), "credits": "backward"} | options
    return measure(net, **options)


def twin_of(net, plain):
    plain.load_state_dict(net.state_dict(), strict=False)
    return plain


def plain_fa(net):
    return twin_of(net, FANet(nn.Linear))


def fa_by_hand(net, x, y):
    """a_l = (a_{l+1} B_{l+1}) ⊙ φ′, down from the error, layer by layer, in float64."""
    exact = copy.deepcopy(net).double()
    x = x.double()
    with torch.no_grad():
        h1 = F.linear(x, exact.first.weight, exact.first.bias)
        h2 = F.linear(h1.tanh(), exact.second.weight, exact.second.bias)
        h3 = F.linear(h2.tanh(), exact.third.weight, exact.third.bias)
        out = F.linear(h3.tanh(), exact.head.weight, exact.head.bias)
        slope = [1 - h.tanh() ** 2 for h in (h1, h2, h3)]
        error = out.softmax(-1) - F.one_hot(y, CLASSES)
        a3 = (error @ exact.head.back) * slope[2]
        a2 = (a3 @ exact.third.back) * slope[1]
        a1 = (a2 @ exact.second.back) * slope[0]
        g3 = (error @ exact.head.weight) * slope[2]
        g2 = (g3 @ exact.third.weight) * slope[1]
        g1 = (g2 @ exact.second.weight) * slope[0]
    return (a1, a2, a3), (g1, g2, g3)


@pytest.mark.parametrize("twin", [plain_fa, lambda net: None], ids=["twin", "differences"])
def test_layers_with_a_backward_of_their_own_read_as_by_hand(twin):
    net = settle(FANet()).train()
    measured = read(net, twin=twin(net))
    credits, gradients = fa_by_hand(net, *batch())
    for r, a, g in zip(measured.readings, credits, gradients, strict=True):
        assert r.cosine_mean == pytest.approx(cosines(a, g).mean().item(), abs=1e-5)
        assert r.credit_norm == pytest.approx(a.norm(dim=1).mean().item(), rel=1e-5)
        assert r.reference_norm == pytest.approx(g.norm(dim=1).mean().item(), rel=1e-5)
    assert max(measured.reference_errors) < 1e-6
    assert finding(measured, "reference source").status == "pass"


def test_twin_and_differences_agree():
    net = settle(FANet())
    by_twin, by_differences = read(net, twin=plain_fa(net)), read(net)
    assert by_twin.reference == "autograd of the twin"
    assert by_differences.reference == "finite differences"
    for a, b in zip(by_twin.readings, by_differences.readings, strict=True):
        assert a.cosine_mean == pytest.approx(b.cosine_mean, abs=1e-6)
        assert a.reference_norm == pytest.approx(b.reference_norm, rel=1e-6)
    errors = [r.reference_relative_error for r in by_differences.readings]
    assert errors == list(by_differences.reference_errors)
    assert all(0 < e < 1e-6 for e in errors)
    assert not any(r.precisions for r in by_differences.readings)


@pytest.mark.parametrize("kind", NETS)
def test_differences_are_the_gradient(kind):
    net, x, y = settle(kind()).eval(), kind.inputs(5), labels(5)
    states, gradients, _ = by_hand(net, x, y, kind.STATES)
    exact = net.double()
    x = x.double() if x.is_floating_point() else x
    found = central_differences(Tap(kind.STATES), exact, x, y, states)
    for f, g in zip(found, gradients, strict=True):
        assert (f - g).norm() < 1e-6 * g.norm()


def test_hooks_that_fill_grad_read_as_by_hand():
    net = settle(HookedDFA())
    x, y = batch()
    for p in net.parameters():
        p.grad = torch.full_like(p, 3)
    for twin in (None, twin_of(net, PlainMLP())):
        measured = read(net, twin=twin)
        plain = twin_of(net, PlainMLP())
        _, gradients, error = by_hand(plain, x, y, net.STATES)
        for r, B, g in zip(measured.readings, net.feedback, gradients, strict=True):
            assert r.cosine_mean == pytest.approx(
                cosines(error @ B.double().T, g).mean().item(), abs=1e-5
            )
        assert all(torch.equal(p.grad, torch.full_like(p, 3)) for p in net.parameters())
        assert all(layer.output is None for layer in net.layers)


def test_what_a_library_kept_of_its_last_pass_does_not_hinder():
    net = settle(HookedDFA())
    x, y = batch()
    F.cross_entropy(net(x), y).backward()
    kept = [layer.output for layer in net.layers]
    assert not kept[0].is_leaf
    first = read(net, twin=twin_of(net, PlainMLP()))
    assert [layer.output for layer in net.layers] == kept
    assert read(net, twin=twin_of(net, PlainMLP())) == first


def test_fresh_feedback_is_redrawn_in_a_copy():
    net = settle(FANet())
    before = copy.deepcopy(net.state_dict())
    copies = []

    def fresh(module, generator):
        copies.append(module)
        for layer in (module.first, module.second, module.third, module.head):
            layer.back.normal_(generator=generator)

    measured = read(net, twin=plain_fa(net), null=fresh, draws=80)
    assert all(c is not net for c in copies)
    assert len(copies) == 80 + 1  # and the one draw that is told beside the null
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    for r in measured.readings:
        assert (r.null.method, r.null.draws) == ("monte-carlo", 80)
        assert abs(r.null.mean) < 4 * r.null.std / 80**0.5
        assert 0 < r.null.std < 1
    assert finding(measured, "deep credit").status != "unmeasured"
    assert read(net, twin=plain_fa(net), null=fresh, draws=80) == measured


def test_fresh_feedback_of_a_library_of_hooks():
    net = settle(HookedDFA())
    kept = [B.clone() for B in net.feedback]

    def fresh(module, generator):
        for B in module.feedback:
            B.normal_(generator=generator)

    drawn = read(net, twin=twin_of(net, PlainMLP()), null=fresh)
    closed = read(net, twin=twin_of(net, PlainMLP()), null="gaussian")
    for a, b in zip(drawn.readings, closed.readings, strict=True):
        assert a.null.std == pytest.approx(b.null.std, rel=0.2)
    assert all(torch.equal(B, k) for B, k in zip(net.feedback, kept, strict=True))


def test_a_copy_that_hands_back_other_credits_is_refused():
    net = settle(FANet())
    seen = []
    # A hook that acts for one module only, as one that holds on to it does.
    net.third.register_full_backward_hook(
        lambda m, gi, go: seen.append(m) or ((gi[0] * 2,) if m is net.third else None)
    )
    assert read(net, twin=plain_fa(net)).readings[2].cosine_mean is not None
    with pytest.raises(InputError, match="other credits from a copy"):
        read(net, twin=plain_fa(net), null=lambda m, g: None)


def test_an_untrusted_backward_is_noticed_where_it_is_taken_for_the_reference():
    net = settle(FANet())
    measured = read(net, credits=lambda trace: [torch.ones_like(h) for h in trace.states])
    source = finding(measured, "reference source")
    assert source.status == "flag"
    assert "twin" in source.consequence
    assert source.value > 0.1


class Detached(FANet):
    def forward(self, x):
        return self.head(self.third(self.second(self.first(x)).detach()))


def test_refused():
    net = settle(FANet())
    with pytest.raises(InputError, match="nothing at 'first', 'second'"):
        read(settle(Detached()))
    for option in ({"probes": True}, {"precisions": [torch.bfloat16]}):
        with pytest.raises(InputError, match="a twin wherever"):
            read(net, **option)
    handle = net.first.weight.register_post_accumulate_grad_hook(lambda p: None)
    with pytest.raises(InputError, match=r"'first\.weight' with one"):
        read(net)
    handle.remove()
    wrong = plain_fa(net)
    wrong.third = nn.Linear(7, 9)
    wrong.head = nn.Linear(9, CLASSES)
    with pytest.raises(InputError, match=r"the shape \(12, 6\) at third"):
        read(net, twin=wrong)


def test_probes_and_precisions_go_through_the_twin():
    net = settle(FANet())
    measured = read(net, twin=plain_fa(net), probes=True, precisions=[torch.bfloat16])
    for r in measured.readings:
        assert r.probes.rho_gradient == pytest.approx(1, abs=1e-2)
        assert [p.dtype for p in r.precisions] == ["float32", "bfloat16"]


def test_a_plain_module_hands_back_its_gradient():
    net = settle(CNN()).train()
    x, y = CNN.inputs(6), labels(6)
    measured = measure(net, states=net.STATES[2:], batch=(x, y), credits="backward")
    assert measured.readings[0].cosine_quantiles[0] > 1 - 1e-9


# The real library, where it is installed (its layers import without torchvision).


def test_biotorch_layers_read_as_by_hand():
    layers = pytest.importorskip("biotorch.layers.fa")

    def linear(inputs, outputs):
        layer = layers.Linear(inputs, outputs)
        with torch.no_grad():
            for p, seed in ((layer.weight, 1), (layer.bias, 2), (layer.weight_backward, 3)):
                p.copy_(draw(*p.shape, seed=seed * 100 + inputs) * inputs**-0.5)
        return layer

    net = FANet(linear)
    for layer in (net.first, net.second, net.third, net.head):
        layer.back = layer.weight_backward  # the name that `fa_by_hand` uses
    credits, gradients = fa_by_hand(net, *batch())
    for twin in (plain_fa(net), None):
        measured = read(net, twin=twin)
        for r, a, g in zip(measured.readings, credits, gradients, strict=True):
            assert r.cosine_mean == pytest.approx(cosines(a, g).mean().item(), abs=1e-5)
        assert max(measured.reference_errors) < 1e-6
        assert all(p.grad is None for p in net.parameters())


def test_biotorch_feedback_is_redrawn():
    layers = pytest.importorskip("biotorch.layers.fa")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = FANet(layers.Linear)

    def fresh(module, generator):
        for layer in (module.first, module.second, module.third, module.head):
            nn.init.xavier_uniform_(layer.weight_backward, generator=generator)

    measured = read(net, twin=plain_fa(net), null=fresh, draws=60)
    assert all(r.null.draws == 60 and r.null.std > 0 for r in measured.readings)
