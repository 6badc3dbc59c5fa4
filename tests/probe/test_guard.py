"""Nothing measured changes anything, also where the user's own functions fail."""

import copy

import pytest
import torch
from probe_nets import CNN, NETS, FANet, dfa, draw, feedbacks, labels, settle
from torch import nn

from faeval.probe import measure, undisturbed


def picture(net):
    """Everything about a module that could be disturbed, comparable with ==."""

    def bits(t):
        return (
            None
            if t is None
            else (id(t), t.dtype, t.requires_grad, t.detach().clone().flatten().tolist())
        )

    return {
        "tensors": {k: bits(t) for k, t in [*net.named_parameters(), *net.named_buffers()]},
        "grads": {k: bits(p.grad) for k, p in net.named_parameters()},
        "modes": {k: m.training for k, m in net.named_modules()},
        "attributes": {k: sorted(vars(m)) for k, m in net.named_modules()},
        "hooks": {
            (k, a): dict(v) if isinstance(v, dict) else v
            for k, m in net.named_modules() for a, v in vars(m).items() if "hook" in a and v
        },
        "versions": {k: p._version for k, p in net.named_parameters()},
        "chance": torch.get_rng_state().tolist(),
        "grad mode": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
    }  # fmt: skip


def lived_in(kind):
    """A network in the middle of its training, in an uncommon state."""
    net = settle(kind()).train()
    list(net.modules())[-1].eval()
    for i, p in enumerate(net.parameters()):
        p.requires_grad_(i % 3 > 0)
        p.grad = None if i % 2 else torch.full_like(p, float(i))
    net.register_forward_hook(lambda *_: None)
    return net


ALL = {"probes": 4, "precisions": (torch.bfloat16,)}


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("backward", [False, True])
def test_measuring_leaves_everything_as_it_was(kind, backward):
    net, twin = lived_in(kind), lived_in(kind)
    credits = "backward" if backward else dfa(feedbacks(kind))
    # The closed form is of B·error, which a module's own gradient is not.
    options = ALL | {"null": (lambda *_: None) if backward else "gaussian", "draws": 2}
    before = picture(net), picture(twin)
    batch = kind.inputs(8), labels(8)
    measure(net, states=net.STATES, batch=batch, credits=credits, twin=twin, **options)
    assert (picture(net), picture(twin)) == before


@pytest.mark.parametrize(
    "mode", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)]
)
@pytest.mark.parametrize("kind", [CNN, FANet])
def test_the_mode_around_makes_no_difference(mode, kind):
    net = settle(kind())
    x = CNN.inputs(8) if kind is CNN else draw(8, 5)
    options = {
        "states": net.STATES,
        "credits": "backward" if kind is FANet else dfa(feedbacks(CNN)),
    }
    expected = measure(net, batch=(x, labels(8)), **options)
    with mode():
        before = picture(net)
        assert measure(net, batch=(x.clone(), labels(8)), **options) == expected
        assert picture(net) == before


class UserError(Exception):
    pass


def meddle(net):
    """All that a user's function may do to the module it holds on to."""
    net.double().eval()
    net.zero_grad()
    for m in net.modules():
        m.extra = 1
        m.register_full_backward_hook(lambda *_: None)
    with torch.no_grad():
        for t in [*net.parameters(), *net.buffers()]:
            t.zero_()
            t.requires_grad_(False)
    torch.randn(5)
    torch.set_grad_enabled(False)


@pytest.mark.parametrize("where", ["credits", "loss", "fresh", "forward", "backward"])
def test_an_exception_leaves_everything_as_it_was(where):
    net = lived_in(CNN)

    def fail(*_):
        meddle(net)
        raise UserError

    good = dfa(feedbacks(CNN))
    options = {"credits": fail if where == "credits" else good}
    if where == "loss":
        options["loss"] = fail
    if where == "fresh":
        options["null"] = fail
    if where == "forward":
        net.head.register_forward_hook(fail)
    if where == "backward":
        options["credits"] = "backward"
        net.head.register_full_backward_hook(fail)
    before = picture(net)
    with pytest.raises(UserError):
        measure(net, states=net.STATES, batch=(CNN.inputs(4), labels(4)), **options)
    before.pop("versions")  # what was written to has been written back
    after = picture(net)
    after.pop("versions")
    assert after == before


def test_undisturbed_puts_back_objects_and_bits():
    net = lived_in(CNN)
    net.cache, net.plain = [draw(3)], draw(2)
    kept, before = (net.cache, net.cache[0], net.plain), picture(net)
    values = [kept[1].clone(), kept[2].clone()]
    with undisturbed(net):
        meddle(net)
        net.cache.append(draw(1))
        kept[1].zero_()
        net.plain.zero_()
        net.head.weight = nn.Parameter(torch.zeros(1))
        net.head = nn.Identity()
        for p in net.parameters():
            p.grad = torch.ones_like(p)
    assert net.cache is kept[0]
    assert len(net.cache) == 1
    assert net.cache[0] is kept[1]
    assert net.plain is kept[2]
    assert torch.equal(kept[1], values[0])
    assert torch.equal(kept[2], values[1])
    before.pop("versions")
    after = picture(net)
    after.pop("versions")
    assert after == before


def test_nested_and_nan():
    net = settle(CNN())
    with torch.no_grad():
        net.head.bias.fill_(torch.nan)
    version = net.head.bias._version
    with undisturbed(net), undisturbed(net):
        pass
    assert net.head.bias._version == version


def test_a_graph_that_waits_for_its_backward_stays_valid():
    net = settle(FANet())
    x, y = draw(6, 5), labels(6)
    loss = nn.functional.cross_entropy(net(x), y)
    twin = copy.deepcopy(net)
    measure(net, states=net.STATES, batch=(x, y), credits="backward")
    loss.backward()
    nn.functional.cross_entropy(twin(x), y).backward()
    assert all(
        torch.equal(p.grad, q.grad)
        for p, q in zip(net.parameters(), twin.parameters(), strict=True)
    )
