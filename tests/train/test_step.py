"""One training step, against plain autograd and against loops over single samples."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faeval.core.random import generator
from faeval.core.trace import Trace
from faeval.models import ResMLP, Staged
from faeval.rules import BP, DFA, FA, Claims, Feedback, Rule
from faeval.train.adamw import AdamW
from faeval.train.credits import credit_of
from faeval.train.step import step, teach

FEATURES, WIDTH, CLASSES, BATCH = 5, 7, 4, 6
Pairs = list[tuple[Tensor, Tensor]]


def cases(*, everything: bool) -> list:
    """Depth, trainable blocks, residual, terminal norm, penalty. Without `everything`, the
    penalised default network at every block count, all others with every block trained."""
    found = []
    for depth, residual, norm, penalty in itertools.product(
        range(1, 7), (True, False), (True, False), (0.0, 0.01)
    ):
        form = f"{'res' if residual else 'plain'}-{'ln' if norm else 'no'}-{penalty:g}"
        default = residual and norm
        for trainable in range(depth + 1):
            whole = trainable == depth and (default or penalty)
            if everything or whole or (default and penalty):
                values = (depth, trainable, residual, norm, penalty)
                found.append(pytest.param(*values, id=f"L{depth}-k{trainable}-{form}"))
    return found


NETWORK = ("depth", "trainable", "residual", "norm", "penalty")


def network(
    depth: int = 3,
    trainable: int | None = None,
    *,
    residual: bool = True,
    norm: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Staged:
    """A network in which no parameter is at a special value such as 0 or 1."""
    model = ResMLP(width=WIDTH, depth=depth, terminal_norm=norm, residual=residual, w2_std=0.8)
    built = model.build((FEATURES,), CLASSES, generator(0, "weights")).to(dtype)
    noise = generator(0, "noise")
    with torch.no_grad():
        for p in built.parameters():
            p += 0.1 * torch.randn(p.shape, generator=noise, dtype=dtype)
    built.freeze_blocks(depth if trainable is None else trainable)
    return built


def batches(count: int, dtype: torch.dtype = torch.float64, size: int = BATCH) -> Pairs:
    draw = generator(0, "batches")
    return [
        (
            torch.randn(size, FEATURES, generator=draw, dtype=dtype),
            torch.randint(CLASSES, (size,), generator=draw),
        )
        for _ in range(count)
    ]


@dataclass(frozen=True, eq=False)
class TrueGradient(Rule):
    """a_l = ∂(ℓ_n + λ Σ_{k≥l} ‖f_k‖²)/∂h_l; the batch arrives as the feedback x and y.

    The clone keeps ‖f_{l-1}‖² out of a_l where h_l is f_{l-1}: that term is `teach`'s own.
    """

    claims = Claims(
        uses_labels=True,
        transports_weights="all",
        granularity="none",
        equals_bp="always",
    )
    model: Staged
    penalty: float

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        return {}

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        h = self.model.stem(feedback["x"])
        states, total = [h], torch.zeros((), dtype=h.dtype)
        for block in self.model.blocks:
            f = explicit(block, h)
            total = total + self.penalty * f.square().sum()
            h = h + f if self.model.residual[0] else f.clone()
            states.append(h)
        total = total + F.cross_entropy(self.model.head(h), feedback["y"], reduction="sum")
        return list(torch.autograd.grad(total, states))


def objective(model: Staged, x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """mean_n (ℓ_n + λ Σ_l ‖f_l‖²), from the modules alone."""
    h, extra = model.stem(x), 0.0
    for block in model.blocks:
        f = explicit(block, h)
        extra = extra + penalty * f.square().sum(1).mean()
        h = h + f if model.residual[0] else f
    return F.cross_entropy(model.head(h), y) + extra


def gradients(model: Staged) -> dict[str, Tensor | None]:
    return {name: p.grad for name, p in model.named_parameters()}


def taught(model: Staged, teacher: Callable[[], None]) -> dict[str, Tensor | None]:
    """The gradients that `teacher` leaves in an otherwise clean model."""
    model.zero_grad()
    teacher()
    return gradients(model)


def autograd(model: Staged, loss: Tensor) -> dict[str, Tensor | None]:
    """The twin of `taught`: None for a frozen parameter and for one the loss does not reach."""
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    reached = dict(zip(named, found, strict=True))
    return {name: reached.get(name) for name, _ in model.named_parameters()}


def assert_same(ours: dict[str, Tensor | None], twin: dict[str, Tensor | None], rel: float) -> None:
    """Equal up to `rel` times the largest entry of each tensor."""
    assert ours.keys() == twin.keys()
    for name, expected in twin.items():
        found = ours[name]
        assert (found is None) == (expected is None), name
        if expected is not None:
            limit = rel * max(1e-3, expected.abs().max().item())
            assert (found - expected).abs().max().item() <= limit, name


# --- credit that is the true gradient: backpropagation -------------------------------------


@pytest.mark.parametrize(NETWORK, cases(everything=True))
def test_the_true_gradient_as_credit_is_backpropagation(depth, trainable, residual, norm, penalty):
    model = network(depth, trainable, residual=residual, norm=norm)
    ((x, y),) = batches(1)
    rule = TrueGradient(model, penalty)
    local = taught(
        model,
        lambda: teach(
            trace := model.run(x, y, local=True),
            rule.credit(trace, {"x": x, "y": y}),
            penalty=penalty,
        ),
    )
    twin = autograd(model, objective(model, x, y, penalty))
    assert_same(local, twin, 1e-12)
    end_to_end = taught(model, lambda: teach(model.run(x, y, local=False), None, penalty=penalty))
    assert_same(end_to_end, twin, 1e-12)


class Descent:
    """w ← w − η v with v ← μ v + g: what a step asks of an optimiser, and no more."""

    weight_decay = 0.0

    def __init__(self, model: Staged, momentum: float = 0.9) -> None:
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.momentum = momentum
        self.velocity = [torch.zeros_like(p) for p in self.parameters]

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        for p, v in zip(self.parameters, self.velocity, strict=True):
            v.mul_(self.momentum).add_(p.grad)
            p.add_(v, alpha=-learning_rate)


def train(model: Staged, rule: Rule, pairs: Pairs, penalty: float, optimizer, rate: float) -> None:
    for x, y in pairs:
        feedback = {"x": x, "y": y}
        step(model, rule, feedback, optimizer, x, y, learning_rate=rate, penalty=penalty)


def train_twin(model: Staged, pairs: Pairs, penalty: float, optimizer) -> None:
    for x, y in pairs:
        optimizer.zero_grad()
        objective(model, x, y, penalty).backward()
        optimizer.step()


def trainable_of(model: Staged) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def distance(model: Staged, twin: Staged, start: Staged) -> float:
    """The largest difference of a weight, over the longest way that any weight went."""
    triples = zip(model.parameters(), twin.parameters(), start.parameters(), strict=True)
    pairs = [((a - b).abs().max().item(), (b - c).abs().max().item()) for a, b, c in triples]
    return max(apart for apart, _ in pairs) / max(way for _, way in pairs)


@pytest.mark.parametrize(NETWORK, cases(everything=False))
def test_twenty_steps_end_at_the_weights_of_backpropagation(
    depth, trainable, residual, norm, penalty
):
    start = network(depth, trainable, residual=residual, norm=norm, dtype=torch.float32)
    model, twin = copy.deepcopy(start), copy.deepcopy(start)
    pairs = batches(20, torch.float32)
    train(model, TrueGradient(model, penalty), pairs, penalty, Descent(model), 3e-3)
    sgd = torch.optim.SGD(trainable_of(twin).values(), lr=3e-3, momentum=0.9)
    train_twin(twin, pairs, penalty, sgd)
    # Rounding, 6e-8, grown by twenty steps of deep networks: 1.2e-5 at most, mostly 1e-6.
    assert distance(model, twin, start) < 5e-5


@pytest.mark.parametrize("penalty", [0.0, 0.01])
@pytest.mark.parametrize("trainable", [0, 2, 4])
@pytest.mark.parametrize("end_to_end", [True, False])
def test_twenty_steps_of_the_optimiser_of_the_trials(trainable, penalty, end_to_end):
    """AdamW divides by the gradient's own size, so that rounding counts: in float64."""
    start = network(4, trainable)
    model, twin = copy.deepcopy(start), copy.deepcopy(start)
    rule = BP() if end_to_end else TrueGradient(model, penalty)
    train(model, rule, batches(20), penalty, AdamW(trainable_of(model), 0.01), 5e-3)
    adamw = torch.optim.AdamW(trainable_of(twin).values(), lr=5e-3, weight_decay=0.01)
    train_twin(twin, batches(20), penalty, adamw)
    assert distance(model, twin, start) < 1e-9


def test_without_its_penalty_on_later_blocks_a_credit_is_another_method():
    """The twins above can tell: dropping Σ_{k>l} ‖f_k‖² from the credit leaves the path of BP."""
    model = network(3)
    ((x, y),) = batches(1)
    loss_only = TrueGradient(model, 0.0)
    local = taught(
        model,
        lambda: teach(
            trace := model.run(x, y, local=True),
            loss_only.credit(trace, {"x": x, "y": y}),
            penalty=0.01,
        ),
    )
    twin = autograd(model, objective(model, x, y, 0.01))
    assert_same({"head": local["head.1.weight"]}, {"head": twin["head.1.weight"]}, 1e-12)
    assert not torch.allclose(local["stem.1.weight"], twin["stem.1.weight"], rtol=1e-3)


@pytest.mark.parametrize("residual", [True, False])
def test_the_credit_of_bp_taught_locally_is_bp(residual):
    model = network(3, residual=residual)
    ((x, y),) = batches(1)
    credits = BP().credit(model.run(x, y, local=False), {})
    local = taught(model, lambda: teach(model.run(x, y, local=True), credits))
    assert_same(local, autograd(model, objective(model, x, y, 0.0)), 1e-12)


# --- direct feedback alignment against a loop over samples ---------------------------------


def explicit(block: nn.Module, h: Tensor) -> Tensor:
    """f(h) = W2 · gelu(W1 · LN(h)), whichever way the block itself computes it."""
    return block.w2(F.gelu(block.w1(block.norm(h))))


def literal_dfa(
    model: Staged, feedback: Feedback, x: Tensor, y: Tensor, credit_at: str, penalty: float
) -> dict[str, Tensor]:
    """Every gradient of a DFA step, sample by sample; stem and head by outer products."""
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    linear = model.head[-1] if isinstance(model.head, nn.Sequential) else model.head
    prefix = "head.1" if isinstance(model.head, nn.Sequential) else "head"
    for sample, label in zip(x, y.tolist(), strict=True):
        with torch.no_grad():
            states = [model.stem(sample[None])]
            for block in model.blocks:
                f = explicit(block, states[-1])
                states.append(states[-1] + f if model.residual[0] else f)
            scores = model.head(states[-1])[0].exp()
        e = scores / scores.sum()
        e[label] -= 1
        a = [feedback[f"B{l}"] @ e for l in range(len(states))]

        total["stem.1.weight"] += torch.outer(a[0], sample)
        total["stem.1.bias"] += a[0]
        for l, block in enumerate(model.blocks):
            f = explicit(block, states[l])[0]
            loss = f @ (a[l] if credit_at == "input" else a[l + 1]) + penalty * (f @ f)
            names = [name for name, _ in block.named_parameters()]
            for name, g in zip(names, torch.autograd.grad(loss, block.parameters()), strict=True):
                total[f"blocks.{l}.{name}"] += g
        h = states[-1][0]
        if prefix == "head.1":
            norm = model.head[0]
            unit = (h - h.mean()) / (h.var(correction=0) + norm.eps).sqrt()
            back = linear.weight.detach().T @ e
            total["head.0.weight"] += back * unit
            total["head.0.bias"] += back
            h = norm.weight.detach() * unit + norm.bias.detach()
        total[f"{prefix}.weight"] += torch.outer(e, h)
        total[f"{prefix}.bias"] += e
    return {name: g / len(x) for name, g in total.items()}


def drawn(model: Staged) -> Feedback:
    return {k: b.double() for k, b in DFA().init(model, generator(0, "feedback")).items()}


@pytest.mark.parametrize("credit_at", ["input", "output"])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("penalty", [0.0, 0.01])
def test_dfa_equals_its_loop_over_samples(credit_at, residual, norm, penalty):
    model = network(3, residual=residual, norm=norm)
    ((x, y),) = batches(1)
    feedback = drawn(model)

    def teacher() -> None:
        trace = model.run(x, y, local=True)
        credits = DFA().credit(trace, feedback)
        teach(trace, credits, penalty=penalty, credit_at=credit_at)

    twin = literal_dfa(model, feedback, x, y, credit_at, penalty)
    assert_same(taught(model, teacher), twin, 1e-12)


@pytest.mark.parametrize("credit_at", ["input", "output"])
def test_a_step_applies_the_gradients_of_the_loop(credit_at):
    """Through `step`, with one plain gradient step: w ← w − η g. Old gradients do not count."""
    model = network(2)
    ((x, y),) = batches(1)
    feedback = drawn(model)
    expected = {
        name: p.detach() - 0.5 * literal_dfa(model, feedback, x, y, credit_at, 0.01)[name]
        for name, p in model.named_parameters()
    }
    for p in model.parameters():
        p.grad = torch.full_like(p, 1e6)
    optimizer = Descent(model, momentum=0)
    before = model.run(x, y, local=True)
    how = {"learning_rate": 0.5, "penalty": 0.01, "credit_at": credit_at}
    trace = step(model, DFA(), feedback, optimizer, x, y, **how)
    assert_same(dict(model.named_parameters()), expected, 1e-12)
    # What is returned is what was learned from, not what came of it.
    torch.testing.assert_close(trace.loss, before.loss)
    torch.testing.assert_close(trace.states, before.states)


# --- properties of the step ----------------------------------------------------------------


@pytest.mark.parametrize("residual", [True, False])
def test_the_penalty_adds_its_own_gradient_at_fixed_inputs(residual):
    model = network(3, residual=residual)
    ((x, y),) = batches(1)
    feedback = drawn(model)

    def teacher(penalty: float) -> Callable[[], None]:
        def run_once() -> None:
            trace = model.run(x, y, local=True)
            teach(trace, DFA().credit(trace, feedback), penalty=penalty)

        return run_once

    plain, penalised = taught(model, teacher(0.0)), taught(model, teacher(0.3))
    states = [h.detach() for h in model.run(x, y, local=True).states]
    loss = 0.3 * sum(
        explicit(block, h).square().sum(1).mean()
        for block, h in zip(model.blocks, states[:-1], strict=True)
    )
    own = autograd(model, loss)
    for name, g in own.items():
        added = torch.zeros_like(plain[name]) if g is None else g
        torch.testing.assert_close(penalised[name] - plain[name], added, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", [BP(), DFA()], ids=["bp", "dfa"])
@pytest.mark.parametrize("trainable", [0, 1, 3])
def test_frozen_blocks_get_no_gradient_and_stay(rule, trainable):
    model = network(3, trainable, dtype=torch.float32)
    before = copy.deepcopy(model)
    feedback = rule.init(model, generator(0, "feedback"))
    # Every parameter is handed over: the weight decay must not reach a frozen one either.
    optimizer = AdamW(dict(model.named_parameters()), weight_decay=0.5)
    for x, y in batches(3, torch.float32):
        step(model, rule, feedback, optimizer, x, y, learning_rate=0.01, penalty=0.01)
    frozen = {f"blocks.{l}." for l in range(3 - trainable)}
    for (name, p), old in zip(model.named_parameters(), before.parameters(), strict=True):
        if any(name.startswith(prefix) for prefix in frozen):
            assert p.grad is None, name
            assert torch.equal(p, old), name
        else:
            assert p.grad is not None, name
            assert not torch.equal(p, old), name


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("trainable", [1, 3])
def test_gradients_do_not_depend_on_how_the_outputs_are_grouped(residual, trainable):
    """All stages at once, or one product at a time from the head down."""
    model = network(3, trainable, residual=residual)
    ((x, y),) = batches(1)
    feedback = drawn(model)

    def together() -> None:
        trace = model.run(x, y, local=True)
        teach(trace, DFA().credit(trace, feedback), penalty=0.01)

    def one_by_one() -> None:
        trace = model.run(x, y, local=True)
        products = [
            *zip(trace.states, DFA().credit(trace, feedback), strict=True),
            (trace.logits, trace.error),
            *((f, 0.02 * f.detach()) for f in trace.branches),
        ]
        for output, cotangent in reversed(products):
            if output.requires_grad:
                output.backward(cotangent / len(y), retain_graph=True)

    assert_same(taught(model, together), taught(model, one_by_one), 1e-12)


@pytest.mark.parametrize("rule", [BP(), DFA()], ids=["bp", "dfa"])
def test_gradients_of_parts_of_a_batch_add_up(rule):
    """Means over samples: parts count by their size, and repeated calls accumulate."""
    model = network(2)
    ((x, y),) = batches(1)
    feedback = drawn(model)

    def teacher(*parts: slice, penalty: float = 0.01) -> Callable[[], None]:
        def run_once() -> None:
            for part in parts:
                trace = rule.run(model, feedback, x[part], y[part])
                credits = None if rule.claims.end_to_end else rule.credit(trace, feedback)
                teach(trace, credits, penalty=penalty)

        return run_once

    whole = taught(model, teacher(slice(None)))
    singles = [slice(n, n + 1) for n in range(BATCH)]
    summed = taught(model, teacher(*singles))
    assert_same({k: g / BATCH for k, g in summed.items()}, whole, 1e-12)


@pytest.mark.parametrize("rule", [BP(), DFA()], ids=["bp", "dfa"])
@pytest.mark.parametrize("credit_at", ["input", "output"])
def test_a_batch_of_one_is_taught(rule, credit_at):
    model = network(2)
    ((x, y),) = batches(1, size=1)
    feedback = drawn(model)
    start = copy.deepcopy(model)
    how = {"learning_rate": 0.01, "penalty": 0.01, "credit_at": credit_at}
    step(model, rule, feedback, Descent(model), x, y, **how)
    if rule.claims.end_to_end:
        twin = autograd(start, objective(start, x, y, 0.01))
    else:
        twin = literal_dfa(start, feedback, x, y, credit_at, 0.01)
    assert_same(gradients(model), twin, 1e-12)


def test_an_end_to_end_rule_ignores_where_credit_is_used():
    model = network(2)
    ((x, y),) = batches(1)
    found = []
    for credit_at in ("input", "output"):
        copied = copy.deepcopy(model)
        how = {"learning_rate": 0.01, "credit_at": credit_at}
        step(copied, BP(), {}, Descent(copied), x, y, **how)
        found.append(gradients(copied))
    assert_same(*found, 0.0)


def test_a_step_runs_the_trace_its_rule_needs():
    model = network(2)
    ((x, y),) = batches(1)
    with pytest.raises(RuntimeError):  # h_1 does not depend on h_0 in a local trace
        torch.autograd.grad(DFA().run(model, {}, x, y).loss.sum(), model.stem.parameters())
    torch.autograd.grad(BP().run(model, {}, x, y).loss.sum(), model.stem.parameters())


@pytest.mark.parametrize("rule", [DFA(), FA(), BP()], ids=["dfa", "fa", "bp"])
def test_credits_are_read_where_they_taught(rule):
    """A direct rule taught by input credits never used the one at h_L."""
    model = network(2)
    ((x, y),) = batches(1)
    feedback = rule.init(model, generator(0, "feedback"))
    feedback = {name: b.double() for name, b in feedback.items()}
    trace = rule.run(model, feedback, x, y)
    a = rule.credit(trace, feedback)
    assert_equal(credit_of(rule, trace, feedback, "output"), a)
    at_input = [*a[:-1], a[-2]] if rule == DFA() else a
    assert_equal(credit_of(rule, trace, feedback, "input"), at_input)


def assert_equal(found: list[Tensor], expected: list[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
