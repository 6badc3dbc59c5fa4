"""Networks and libraries as a user may bring them, and their numbers by hand."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.probe import Measured

CLASSES = 4


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def settle(module: nn.Module, seed=0) -> nn.Module:
    """Weights and statistics from a seed of their own; evaluation is up to the measurement."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=source) * p.shape[-1] ** -0.5)
        for name, b in module.named_buffers():
            if name.endswith("running_var"):
                b.copy_(torch.rand(b.shape, generator=source) + 0.5)
    return module


class MLP(nn.Module):
    STATES = ("first", "second", "third")
    SHAPES = ((7,), (7,), (6,))

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.second(torch.tanh(self.first(x)))
        return self.head(torch.tanh(self.third(torch.tanh(h))))

    @staticmethod
    def inputs(n):
        return draw(n, 5, seed=1)


class CNN(nn.Module):
    """Channels, BatchNorm, dropout, and an in-place activation right behind a state."""

    STATES = ("conv", "body.1", "body.4")
    SHAPES = ((3, 6, 6), (4, 6, 6), (4, 3, 3))

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.body = nn.Sequential(
            nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3, padding=1)),
            nn.BatchNorm2d(4), nn.SiLU(inplace=True), nn.Dropout(0.5), nn.AvgPool2d(2),
        )  # fmt: skip
        self.head = nn.Linear(36, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.conv(x)).flatten(1))

    @staticmethod
    def inputs(n):
        return draw(n, 2, 6, 6, seed=1)


class Encoder(nn.Module):
    """Token indices in; states of shape (N, T, D)."""

    STATES = ("embed", "layers.0", "layers.1")
    SHAPES = ((5, 8),) * 3

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 12, dropout=0.2, batch_first=True, norm_first=True)
            for _ in range(2)
        )
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        for layer in self.layers:
            h = layer(h)
        return self.head(h.mean(1))

    @staticmethod
    def inputs(n):
        return torch.randint(9, (n, 5), generator=torch.Generator().manual_seed(1))


NETS = (MLP, CNN, Encoder)


def labels(n):
    return torch.randint(CLASSES, (n,), generator=torch.Generator().manual_seed(2))


def feedbacks(net, seed=3):
    return [
        draw(torch.Size(shape).numel(), CLASSES, seed=seed + l)
        for l, shape in enumerate(net.SHAPES)
    ]


def dfa(matrices):
    """Hand-written direct feedback alignment, as a user would."""
    return lambda trace: [
        (trace.error @ B.T).view_as(h) for B, h in zip(matrices, trace.states, strict=True)
    ]


# A library of layers whose backward uses weights of its own (as BioTorch's do).


class _Asymmetric(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, back, bias):
        ctx.save_for_backward(x, back)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        x, back = ctx.saved_tensors
        return grad @ back, grad.T @ x, None, grad.sum(0)


class FALinear(nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.register_buffer("back", draw(outputs, inputs, seed=17 * inputs + outputs))

    def forward(self, x):
        return _Asymmetric.apply(x, self.weight, self.back, self.bias)


class FANet(nn.Module):
    STATES = ("first", "second", "third")

    def __init__(self, linear=FALinear):
        super().__init__()
        self.first, self.second, self.third = linear(5, 8), linear(8, 7), linear(7, 6)
        self.head = linear(6, CLASSES)

    def forward(self, x):
        h = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.head(torch.tanh(self.third(h)))


# A library of hooks: layers cut the graph, the output's hook projects the error and starts a
# backward pass at every layer, which fills .grad (as TinyDFA does).


class CutLayer(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.output = None

    def forward(self, x):
        self.output = self.linear(x.detach())
        return self.output


class HookedDFA(nn.Module):
    STATES = ("layers.0", "layers.1")

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([CutLayer(5, 8), CutLayer(8, 6)])
        self.head = nn.Linear(6, CLASSES)
        self.feedback = [draw(8, CLASSES, seed=5), draw(6, CLASSES, seed=6)]

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        output = self.head(x.detach())
        if output.requires_grad:
            output.register_hook(self._teach)
        return output

    def _teach(self, error):
        for layer, B in zip(self.layers, self.feedback, strict=True):
            layer.output.backward(error @ B.T)


class PlainMLP(nn.Module):
    """The function of `HookedDFA`, with autograd as it is."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList()
        for inputs, outputs in ((5, 8), (8, 6)):
            layer = nn.Module()
            layer.linear = nn.Linear(inputs, outputs)
            layer.forward = layer.linear.forward
            self.layers.append(layer)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)


# What `measure` should find.


def by_hand(net, x, y, names):
    """States and per-sample gradients in float64, one sample and one submodule at a time."""
    exact = copy.deepcopy(net).eval().double()
    x = x.double() if x.is_floating_point() else x
    states, gradients = [], []
    for name in names:
        rows, grads = [], []
        for n in range(len(x)):
            kept = []
            handle = exact.get_submodule(name).register_forward_hook(
                lambda _, __, h, kept=kept: kept.append(h) or h.clone()
            )
            loss = F.cross_entropy(exact(x[n : n + 1]), y[n : n + 1])
            handle.remove()
            grads.append(torch.autograd.grad(loss, kept)[0][0])
            rows.append(kept[0][0].detach())
        states.append(torch.stack(rows))
        gradients.append(torch.stack(grads))
    error = exact(x).softmax(-1).detach() - F.one_hot(y, CLASSES)
    return states, gradients, error


def cosines(a, b):
    a, b = a.double().flatten(1), b.double().flatten(1)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def finding(measured: Measured, check: str):
    return next(f for f in measured.findings if f.check == check)
