"""Direct random target projection: the credit is the projected target, labels or real ones."""

import pytest
import torch
from rule_nets import CLASSES, batch, double, feedback_of, network
from torch.nn.functional import one_hot

from faeval.rules import DFA, DRTP
from faeval.train.step import teach


def test_the_credit_is_minus_the_column_of_the_label():
    rule, model, (x, y) = DRTP(), network(), batch()
    feedback = feedback_of(rule, model)
    credits = rule.credit(rule.run(model, feedback, x, y), feedback)
    for l, a in enumerate(credits):
        assert torch.equal(a, -feedback[f"B{l}"].T[y])


def test_a_real_target_is_projected_as_it_is():
    rule, model, (x, _) = DRTP(), network(), batch()
    y = torch.randn(len(x), CLASSES)
    feedback = feedback_of(rule, model)
    trace = rule.run(model, feedback, x, y)
    for l, a in enumerate(rule.credit(trace, feedback)):
        torch.testing.assert_close(a, -(y @ feedback[f"B{l}"].T))


@pytest.mark.parametrize("real", [False, True])
def test_it_is_dfa_with_the_output_left_out(real):
    """e_T = output − target, with output the probabilities or the logits: DFA's credit is
    DRTP's plus the projected output, and DRTP's sees no other input and no weight."""
    rule, model, (x, y) = DRTP(), network().double(), batch()
    x = x.double()
    if real:
        y = torch.randn(len(x), CLASSES, dtype=torch.float64)
    feedback = double(feedback_of(rule, model))
    trace = rule.run(model, feedback, x, y)
    output = trace.logits if real else trace.logits.softmax(-1)
    pairs = zip(rule.credit(trace, feedback), DFA().credit(trace, feedback), strict=True)
    for l, (target, error) in enumerate(pairs):
        torch.testing.assert_close(error - target, output.detach() @ feedback[f"B{l}"].T)
    elsewhere = rule.run(network(norm=False, residual=False).double(), feedback, 2 * x + 1, y)
    for a, b in zip(rule.credit(trace, feedback), rule.credit(elsewhere, feedback), strict=True):
        assert torch.equal(a, b)


def test_the_true_class_is_pushed_as_by_the_error():
    """−y has the sign of e_T at the true class, the only one where e_T is negative."""
    rule, model, (x, y) = DRTP(), network(), batch()
    trace = rule.run(model, {}, x, y)
    assert torch.equal(trace.error < 0, one_hot(y, CLASSES) > 0)
    assert torch.equal(-trace.target < 0, trace.error < 0)


def test_the_hidden_layers_learn_with_the_same_one_over_n_as_the_head():
    """Twice the batch of the same samples teaches the same, everywhere."""
    rule, model, (x, y) = DRTP(), network().double(), batch()
    x = x.double()
    feedback = double(feedback_of(rule, model))
    taught = []
    for times in (1, 2):
        model.zero_grad()
        trace = rule.run(model, feedback, x.repeat(times, 1), y.repeat(times))
        teach(trace, rule.credit(trace, feedback))
        taught.append([p.grad for p in model.parameters()])
    for once, twice in zip(*taught, strict=True):
        torch.testing.assert_close(once, twice, rtol=1e-12, atol=1e-14)
