"""What every registered rule must do, and whether it is what it claims to be.

Generated from the registry: a rule is tested by being registered.
"""

import dataclasses
import typing

import pytest
import torch
from rule_nets import (
    CLASSES,
    DEPTH,
    SAMPLES,
    batch,
    feedback_of,
    literal_gradients,
    network,
)
from torch import Tensor
from torch.nn import functional as F

from faeval.core import spec
from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.core.trace import Trace
from faeval.measurement.reference import reference
from faeval.models import CNN, ResNet, Staged, ViTMini
from faeval.records.store import read_tensors, write_tensors
from faeval.rules import RULES, Claims, Feedback, Rule
from faeval.stats import gaussian_feedback_null
from faeval.train.adamw import AdamW
from faeval.train.step import step


def choices(rule: Rule) -> typing.Iterator[tuple[str, typing.Any]]:
    """Every option that is one of a few words, or yes or no, with every value it may have."""
    for option, kind in typing.get_type_hints(type(rule)).items():
        values = (True, False) if kind is bool else typing.get_args(kind)
        if kind is bool or typing.get_origin(kind) is typing.Literal:
            yield from ((option, value) for value in values)


def configurations() -> typing.Iterator[typing.Any]:
    """Every rule as it comes, and with each of its choices changed, one at a time."""
    for name in RULES:
        rule = spec.build(RULES, name)
        yield pytest.param(rule, id=name)
        for option, value in choices(rule):
            if getattr(rule, option) != value:
                other = spec.build(RULES, {"name": name, option: value})
                yield pytest.param(other, id=f"{name}({option}={value})")


EVERY = list(configurations())
every_rule = pytest.mark.parametrize("rule", EVERY)


def claiming(claim: str, *values: typing.Any):
    """Parametrises over the rules whose `claim` is one of `values`."""
    chosen = [p for p in EVERY if getattr(p.values[0].claims, claim) in values]
    return pytest.mark.parametrize("rule", chosen)


def equal(a: Feedback, b: Feedback) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def perturbed_after(model: Staged, state: int) -> None:
    """Other weights in everything that is computed from h_state on."""
    draw = generator(7, "perturbation")
    with torch.no_grad():
        for module in (*model.blocks[state:], model.head):
            for p in module.parameters():
                p += torch.randn(p.shape, generator=draw)


# --- form ----------------------------------------------------------------------------------


@every_rule
def test_it_says_what_it_is(rule):
    cls = type(rule)
    assert cls.__doc__, "the docstring holds the equation, the shapes and the citation"
    assert dataclasses.is_dataclass(cls)
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.new_field = 1
    claims = rule.claims
    for name, kind in typing.get_type_hints(Claims).items():
        allowed = typing.get_args(kind)
        if typing.get_origin(kind) is typing.Literal:
            assert getattr(claims, name) in allowed
    assert claims.equals_bp.strip()


@every_rule
def test_it_survives_the_way_through_plain_data(rule):
    plain = spec.describe(RULES, rule)
    assert spec.build(RULES, plain) == rule
    as_it_comes = spec.build(RULES, plain["name"])
    assert spec.label(RULES, spec.describe(RULES, as_it_comes)) == plain["name"]
    assert (spec.label(RULES, plain) == plain["name"]) == (rule == as_it_comes)
    assert set(plain) == {"name", *(f.name for f in dataclasses.fields(rule))}
    with pytest.raises(InputError, match="option of rule"):
        spec.build(RULES, plain | {"no-such-option": 1})


# --- feedback ------------------------------------------------------------------------------


@every_rule
def test_feedback_is_drawn_from_its_generator_alone(rule):
    model = network()
    weights = {name: p.clone() for name, p in model.state_dict().items()}
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = feedback_of(rule, model)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert equal(feedback_of(rule, model), first)
    assert (rule.claims.feedback == "none") == (not first)
    assert equal(model.state_dict(), weights)


@every_rule
def test_feedback_does_not_depend_on_the_weights_it_is_drawn_beside(rule):
    """Drawn for a model of the same shape: a rule that copies weights transports them."""
    model, other = network(), network()
    perturbed_after(other, 0)
    assert equal(feedback_of(rule, model), feedback_of(rule, other))


@every_rule
def test_feedback_changes_in_training_as_claimed(rule):
    model, (x, y) = network(), batch()
    feedback = feedback_of(rule, model)
    start = {name: b.clone() for name, b in feedback.items()}
    optimizer = AdamW(dict(model.named_parameters()), weight_decay=0.01)
    for _ in range(3):
        step(model, rule, feedback, optimizer, x, y, learning_rate=1e-3)
    assert equal(feedback, start) == (rule.claims.feedback in ("none", "fixed"))
    assert [(k, b.shape) for k, b in feedback.items()] == [(k, b.shape) for k, b in start.items()]


@every_rule
def test_feedback_can_be_saved(rule, tmp_path):
    feedback = feedback_of(rule, network())
    for name, tensor in feedback.items():
        assert isinstance(name, str)
        assert not tensor.requires_grad
        assert tensor.device.type == "cpu"
        assert tensor.isfinite().all()
    write_tensors(tmp_path / "feedback", feedback, {})
    assert equal(read_tensors(tmp_path / "feedback")[0], feedback)


# --- credit --------------------------------------------------------------------------------


@every_rule
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("samples", [1, SAMPLES])
def test_credits_are_shaped_like_the_states_and_carry_no_graph(rule, residual, samples):
    model = network(residual=residual)
    feedback = feedback_of(rule, model)
    trace = rule.run(model, feedback, *batch(samples))
    kept = {name: b.clone() for name, b in feedback.items()}
    credits = rule.credit(trace, feedback)
    assert len(credits) == DEPTH + 1
    for a, h in zip(credits, trace.states, strict=True):
        assert a.shape == h.shape
        assert a.dtype == h.dtype
        assert a.device == h.device
        assert not a.requires_grad
        assert a.isfinite().all()
    again = rule.credit(trace, feedback)
    assert all(torch.equal(a, b) for a, b in zip(again, credits, strict=True))
    assert equal(feedback, kept)
    assert all(p.grad is None for p in model.parameters())


@every_rule
def test_credits_are_per_sample(rule):
    """The credit of a sample does not depend on the others in the batch, nor on their number."""
    model, (x, y) = network(), batch()
    feedback = feedback_of(rule, model)
    whole = rule.credit(rule.run(model, feedback, x, y), feedback)
    part = rule.credit(rule.run(model, feedback, x[2:4], y[2:4]), feedback)
    for a, b in zip(part, whole, strict=True):
        torch.testing.assert_close(a, b[2:4], rtol=1e-4, atol=1e-6)


# --- claims --------------------------------------------------------------------------------


def credit_with_other_weights(rule: Rule, *, blocks: bool, head: bool) -> tuple[bool, bool]:
    """Weight matrices change between the forward pass and the credit, behind autograd's back:
    whether any, and whether every state's credit notices."""
    model, (x, y) = network(), batch()
    feedback = feedback_of(rule, model)
    before = rule.credit(rule.run(model, feedback, x, y), feedback)
    trace, draw = rule.run(model, feedback, x, y), generator(7, "perturbation")
    chosen = [*(model.blocks if blocks else ()), *([model.head] if head else ())]
    for matrix in (p for module in chosen for p in module.parameters() if p.ndim > 1):
        matrix.data += torch.randn(matrix.shape, generator=draw)
    after = rule.credit(trace, feedback)
    changed = [not torch.equal(a, b) for a, b in zip(after, before, strict=True)]
    return any(changed), all(changed)


@every_rule
def test_the_backward_pass_reads_the_weights_it_claims_to_read(rule):
    """(A rule of signs forms them when it runs forward: see its own tests.)"""
    reads = rule.claims.transports_weights
    if reads != "signs":
        assert credit_with_other_weights(rule, blocks=True, head=False)[0] == (reads == "all")
        _, every = credit_with_other_weights(rule, blocks=False, head=True)
        assert every == (reads in ("head", "all"))


@every_rule
def test_labels_are_used_as_claimed(rule):
    model, (x, y) = network(), batch()
    feedback = feedback_of(rule, model)
    credit = rule.credit(rule.run(model, feedback, x, y), feedback)
    other = rule.credit(rule.run(model, feedback, x, (y + 1) % CLASSES), feedback)
    changed = [not torch.equal(a, b) for a, b in zip(credit, other, strict=True)]
    assert all(changed) if rule.claims.uses_labels else not any(changed)


def with_error(trace: Trace, error: Tensor) -> Trace:
    """`trace` with another error, and nothing else in it that could tell the old one."""
    nothing = torch.full_like(trace.logits, torch.nan)
    return dataclasses.replace(trace, error=error, logits=nothing, loss=nothing[:, 0])


@claiming("direct")
def test_direct_credits_know_the_error_or_the_target_alone(rule):
    model = network()
    feedback = feedback_of(rule, model)
    trace = rule.run(model, feedback, *batch())
    other = dataclasses.replace(
        with_error(trace, trace.error),
        states=tuple(torch.zeros_like(h) for h in trace.states),
        branches=(),
        maps=(),
    )
    credits = zip(rule.credit(other, feedback), rule.credit(trace, feedback), strict=True)
    assert all(torch.equal(a, b) for a, b in credits)


@claiming("gaussian_in", "error")
def test_credits_are_linear_in_the_error_and_know_nothing_else(rule):
    model, (x, y) = network(), batch()
    feedback = feedback_of(rule, model)
    trace = rule.run(model, feedback, x, y)
    draw = generator(1, "errors")
    e1, e2 = torch.randn(2, SAMPLES, CLASSES, generator=draw)

    def credit(error: Tensor) -> list[Tensor]:
        return rule.credit(with_error(trace, error), feedback)

    both = credit(2 * e1 - 3 * e2)
    for a, a1, a2 in zip(both, credit(e1), credit(e2), strict=True):
        torch.testing.assert_close(a, 2 * a1 - 3 * a2, rtol=1e-4, atol=1e-5)
        assert a.abs().max() > 0.1
    doubled = dataclasses.replace(trace, states=tuple(2 * h for h in trace.states))
    for a, b in zip(rule.credit(doubled, feedback), rule.credit(trace, feedback), strict=True):
        assert torch.equal(a, b)


@claiming("gaussian_in", "error", "target")
def test_the_closed_form_null_is_that_of_freshly_drawn_feedback(rule):
    """600 draws: the std of the batch-mean cosine to 4 of its own standard errors."""
    draws, model, (x, y) = 600, network(depth=1), batch(24)

    def forward(module: Staged, x: Tensor, y: Tensor):
        trace = module.run(x, y, local=False)
        return trace.states, trace.loss

    exact = reference(forward, model, x, y).exact  # pyright: ignore[reportArgumentType]
    trace, stream = rule.run(model, feedback_of(rule, model), x, y), generator(3, "feedback")
    means = []
    for _ in range(draws):
        credits = rule.credit(trace, rule.init(model, stream))
        pairs = zip(credits, exact, strict=True)
        means.append(torch.stack([F.cosine_similarity(a.double(), g).mean() for a, g in pairs]))
    drawn = torch.stack(means)
    for state, g in enumerate(exact):
        source = trace.error if rule.claims.gaussian_in == "error" else trace.target
        null = gaussian_feedback_null(g, source)
        assert drawn[:, state].std().item() == pytest.approx(null.std, rel=4 / (2 * draws) ** 0.5)
        assert abs(drawn[:, state].mean().item()) < 4 * null.std / draws**0.5
    # With a matrix for each state, their readings are independent under the null; with one for
    # all they are not.
    beside = torch.corrcoef(drawn.T)[0, 1].item()
    one_for_all = len(feedback_of(rule, model)) == 1
    assert (abs(beside) < 4.5 / draws**0.5) != one_for_all


@claiming("exact", True)
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_the_credit_of_an_exact_rule_is_the_gradient(rule, residual, norm):
    model, (x, y) = network(residual=residual, norm=norm).double(), batch()
    trace = rule.run(model, {}, x.double(), y)
    credits = rule.credit(trace, {})
    for a, g in zip(credits, literal_gradients(model, x.double(), y), strict=True):
        torch.testing.assert_close(a, g, rtol=1e-12, atol=1e-14)
    trace.loss.sum().backward()  # the graph is still there
    assert all(p.grad is not None for p in model.parameters())


@every_rule
def test_only_the_gradient_itself_claims_to_replace_no_transpose(rule):
    assert (rule.claims.granularity == "none") == rule.claims.exact
    assert rule.claims.exact <= (rule.claims.transports_weights == "all")


# --- training ------------------------------------------------------------------------------


def taught(model: Staged, rule: Rule) -> set[str]:
    """The names of the parameters that the rule claims to teach."""
    of_head = rule.claims.teaches == "head"
    return {n for n, _ in model.named_parameters() if n.startswith("head") or not of_head}


@every_rule
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("credit_at", ["input", "output"])
def test_it_trains_three_steps(rule, residual, norm, credit_at):
    """What it teaches moves; what it does not stays to the bit, in spite of weight decay."""
    model, (x, y) = network(residual=residual, norm=norm), batch()
    before = {name: p.clone() for name, p in model.named_parameters()}
    feedback = feedback_of(rule, model)
    learns = taught(model, rule)
    # Decay would move anything that has a gradient, if only of zero.
    optimizer = AdamW(dict(model.named_parameters()), weight_decay=0 if learns == {*before} else 1)
    how = {"learning_rate": 1e-3, "penalty": 0.01, "credit_at": credit_at}
    for _ in range(3):
        trace = step(model, rule, feedback, optimizer, x, y, **how)
        assert trace.loss.isfinite().all()
    for name, p in model.named_parameters():
        assert p.isfinite().all(), name
        assert torch.equal(p, before[name]) == (name not in learns), name


# --- architectures -------------------------------------------------------------------------

IMAGES = (3, 8, 8)
ARCHITECTURES = {
    "tokens": ViTMini(width=8, depth=2, heads=2, patch=4, mlp_ratio=2),
    "channels": CNN(width=4, depth=2),
    "channels and residuals": ResNet(width=4, depth=2),
}


@every_rule
@pytest.mark.parametrize("states", ARCHITECTURES)
def test_tokens_and_channels_get_credit_or_the_rule_says_no_at_once(rule, states):
    model = ARCHITECTURES[states].build(IMAGES, CLASSES, generator(0, "weights"))
    start = {name: t.clone() for name, t in model.state_dict().items()}
    x, y = batch(4, IMAGES)
    try:
        feedback = feedback_of(rule, model)
    except InputError:
        return
    assert equal(model.state_dict(), start)
    credits = rule.credit(rule.run(model, feedback, x, y), feedback)
    for a, shape in zip(credits, model.state_shapes, strict=True):
        assert a.shape == (4, *shape)
        assert a.isfinite().all()
    optimizer = AdamW(dict(model.named_parameters()), weight_decay=0)
    for _ in range(2):
        step(model, rule, feedback, optimizer, x, y, learning_rate=1e-3, penalty=0.01)
    for name, p in model.named_parameters():
        assert p.isfinite().all(), name
        assert torch.equal(p, start[name]) == (name not in taught(model, rule)), name


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"transports_weights": "none"}, "transports_weights .*'nothing', 'head', 'signs', 'all'"),
        ({"granularity": "blocks"}, "granularity .*'none', 'block', 'layer', got 'blocks'"),
        ({"gaussian_in": "errors"}, "gaussian_in .*'error', 'target', None, got 'errors'"),
        ({"uses_labels": "no"}, "uses_labels .*True, False, got 'no'"),
        ({"direct": None}, "direct .*True, False, got None"),
    ],
)
def test_a_claim_is_one_of_those_that_can_be_made(wrong, told):
    said = {"uses_labels": True, "transports_weights": "nothing", "granularity": "block"}
    Claims(**said, equals_bp="never")
    with pytest.raises(InputError, match=told):
        Claims(**{**said, **wrong}, equals_bp="never")
