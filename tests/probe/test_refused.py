"""What `measure` refuses, in one line, before anything costly."""

import math

import pytest
import torch
from probe_nets import CLASSES, CNN, MLP, dfa, draw, feedbacks, labels, settle
from torch import nn
from torch.nn import functional as F

from faeval.core.errors import InputError
from faeval.probe import measure
from faeval.probe.nulls import nonlinearity

N = 24


class Shared(MLP):
    def forward(self, x):
        return self.head(self.third(self.second(self.second(self.first(x)))))


class Skips(MLP):
    def forward(self, x):
        return self.head(self.third(F.linear(self.first(x), self.second.weight)))


class Pairs(MLP):
    def forward(self, x):
        return super().forward(x), x


class Tuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.head(self.lstm(x[:, None])[0][:, 0])


class Batchwise(MLP):
    def forward(self, x):
        return super().forward(x - x.mean(0))


GOOD = dfa(feedbacks(MLP))
REFUSED = {
    "unknown name": (MLP, {"states": ["first", "secnd"]}, r"did you mean 'second'\?"),
    "one string": (MLP, {"states": "first"}, "sequence of names"),
    "none": (MLP, {"states": []}, "at least one state"),
    "a name twice": (MLP, {"states": ["first", "first"]}, "no name twice"),
    "order": (MLP, {"states": ["second", "first"]}, r"write states=\['first', 'second'\]"),
    "called twice": (Shared, {}, "'second' called twice"),
    "never called": (Skips, {}, "no call of 'second'"),
    "output of two": (Pairs, {}, "from the module, got tuple"),
    "state of two": (Tuple, {"states": ["lstm"]}, "from submodule 'lstm', got tuple"),
    "samples mixed": (Batchwise, {}, "do not depend on each other"),
    "mean loss": (MLP, {"loss": F.cross_entropy}, 'reduction="none"'),
    "no loss": (MLP, {"loss": lambda output, y: 1.0}, "got float"),
    "a word": (MLP, {"credits": "forward"}, '"backward"'),
    "a number": (MLP, {"credits": 3}, "sequence of 3 credits"),
    "credits in one tensor": (MLP, {"credits": torch.ones(3, 2)}, "sequence of 3 credits"),
    "too few": (MLP, {"credits": [draw(N, 7)]}, "1 of them"),
    "wrong shape": (MLP, {"credits": [draw(N, 7), draw(N, 6), draw(N, 6)]}, r"7\) at 'second'"),
    "no tensor": (MLP, {"credits": [1, 2, 3]}, "got int"),
    "name missing": (MLP, {"credits": {"first": draw(N, 7)}}, "none for"),
    "name unknown": (MLP, {"credits": {"frist": draw(N, 7)}}, "did you mean 'first'"),
    "null word": (MLP, {"null": "gauss"}, 'null="gaussian"'),
    "null count": (MLP, {"null": [draw(N, 2)]}, "each of 3 states"),
    "null shape": (MLP, {"null": [draw(N, 2, 2)] * 3}, "null=fresh"),
    "null name": (MLP, {"null": {"x": draw(N, 2)}}, "a known state"),
    "one draw": (MLP, {"null": lambda t, g: GOOD(t), "draws": 1}, "at least 2 draws"),
    "probes": (MLP, {"probes": -1}, "0 for none"),
    "percent": (MLP, {"accuracy": 61.0}, "divide percent"),
    "seeds": (MLP, {"accuracy": [0.5, 0.6], "control": 0.5}, "one control for each"),
    "no seed": (MLP, {"control": []}, "one per seed"),
    "batch": (MLP, {"batch": (MLP.inputs(N), labels(N - 1))}, "as many in both"),
    "empty": (MLP, {"batch": (MLP.inputs(0), labels(0))}, "at least one sample"),
    "lists": (MLP, {"batch": ([1], [1])}, "two tensors"),
    "one tensor": (MLP, {"batch": MLP.inputs(N)}, r"got one tensor of shape \(24, 5\);"),
    "many tensors": (MLP, {"batch": list(MLP.inputs(N))}, r"got list of .* … \(24 in all\);"),
    "float labels": (MLP, {"batch": (MLP.inputs(N), labels(N).float())}, r"torch.float32 \(24,"),
    "one-hot": (MLP, {"batch": (MLP.inputs(N), F.one_hot(labels(N)))}, r"torch.int64 \(24, 4\)"),
    "label beyond": (MLP, {"batch": (MLP.inputs(N), labels(N) + 9)}, "labels from 0 to 3"),
    "a class as twin": (MLP, {"twin": MLP}, "got the class MLP"),
    "a network as control": (MLP, {"control": MLP()}, "got MLP; train and score"),
    "a word as accuracy": (MLP, {"accuracy": "high"}, "got str"),
    "threshold": (MLP, {"thresholds": {"depth": 0.1}}, "'depth' of Thresholds"),
    "threshold's value": (MLP, {"thresholds": {"depth_gain": 2}}, "'depth_gain' of Thresholds"),
    "no threshold": (MLP, {"thresholds": 3}, "a valid Thresholds"),
    "other twin": (MLP, {"twin": settle(MLP(), seed=5)}, "a difference of .* at first"),
    "twin's names": (MLP, {"twin": CNN()}, "a known submodule of CNN"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(case):
    kind, options, message = REFUSED[case]
    net = settle(kind())
    options = {"states": MLP.STATES, "batch": (MLP.inputs(N), labels(N)), "credits": GOOD} | options
    with pytest.raises(InputError, match=message) as caught:
        measure(net, **options)
    assert "\n" not in str(caught.value)
    assert not any(m._forward_hooks for m in net.modules())


def test_a_class_in_place_of_the_module_is_refused():
    with pytest.raises(InputError, match="got the class MLP; pass the network itself"):
        measure(MLP, states=MLP.STATES, batch=(MLP.inputs(N), labels(N)), credits=GOOD)


@pytest.mark.parametrize(("layers", "listed"), [(20, 20), (60, 8)])
def test_the_list_of_submodules_is_whole_or_says_that_it_is_not(layers, listed):
    net = nn.Sequential(*(nn.Linear(5, 5) for _ in range(layers)))
    with pytest.raises(InputError) as caught:
        measure(net, states=["stem"], batch=(draw(N, 5), labels(N)), credits=GOOD)
    names = str(caught.value).split("known: ")[1].split(", ")
    assert sum(name.isdigit() for name in names) == listed
    assert (names[-1] == f"… ({layers} in all)") == (layers > listed)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_credits_that_are_not_finite_are_not_blamed_on_the_reference(value):
    net = settle(MLP())

    def broken(trace):
        credits = GOOD(trace)
        credits[1] = credits[1].clone()
        credits[1][:5, 0] = value
        return credits

    with pytest.raises(InputError, match=r"finite credits at h1 second, got .* in 5 of 24 samples"):
        measure(net, states=MLP.STATES, batch=(MLP.inputs(N), labels(N)), credits=broken)


def layered(trace):
    """Feedback alignment by hand: each credit through the slopes of its own layer."""
    h0, h1, h2 = (h.detach() for h in trace.states)
    B = [draw(7, 7, seed=1), draw(7, 6, seed=2), draw(6, CLASSES, seed=3)]
    a2 = trace.error @ B[2].T * (1 - h2.tanh() ** 2)
    a1 = a2 @ B[1].T * (1 - h1.tanh() ** 2)
    return [a1 @ B[0].T * (1 - h0.tanh() ** 2), a1, a2]


def test_the_closed_form_is_refused_for_credits_that_it_is_not_made_for():
    net, x, y = settle(MLP()), MLP.inputs(N), labels(N)
    options = {"states": MLP.STATES, "credits": layered}
    with pytest.raises(
        InputError, match=r'for null="gaussian", got .* not linear in it at h0 first'
    ):
        measure(net, batch=(x, y), null="gaussian", **options)
    error = net(x).softmax(-1).detach() - F.one_hot(y, CLASSES)
    with pytest.raises(InputError, match=r"a given null, got .* at h2 third .*fresh\(trace, gen"):
        measure(net, batch=(x, y), null=[None, None, error], **options)
    # As many samples as classes cannot tell.
    measure(net, batch=(x[:CLASSES], y[:CLASSES]), null="gaussian", **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_nonlinearity_is_the_residual_of_least_squares(dtype, scale):
    error = draw(N, CLASSES, dtype=torch.float64).softmax(-1) - F.one_hot(labels(N), CLASSES)
    linear = (error @ draw(CLASSES, 12, dtype=torch.float64)).view(N, 3, 4)
    assert nonlinearity((scale * linear).to(dtype), error) < 10 * torch.finfo(dtype).eps
    bent = linear + 0.1 * linear**2
    B = torch.linalg.lstsq(error, bent.flatten(1), driver="gelsd").solution
    slow = ((bent.flatten(1) - error @ B).norm() / bent.norm()).item()
    assert slow > 0.01
    assert nonlinearity((scale * bent).to(dtype), error) == pytest.approx(slow, rel=0.05)
    bent[3] = math.nan
    assert 0.01 < nonlinearity(bent, error) < 1
    assert nonlinearity(torch.zeros(N, 2), error) == 0
