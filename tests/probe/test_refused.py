"""What `measure` refuses, in one line, before anything costly."""

import pytest
import torch
from probe_nets import CLASSES, CNN, MLP, dfa, draw, feedbacks, labels, settle
from torch import nn
from torch.nn import functional as F

from faeval.core.errors import InputError
from faeval.probe import measure

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
    "one tensor": (MLP, {"credits": torch.ones(3, 2)}, "sequence of 3 credits"),
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
