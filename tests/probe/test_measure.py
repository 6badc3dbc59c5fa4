"""`measure` with credits that the user gives: the numbers, by hand, and what is refused."""

import copy
import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probe_nets import (
    CLASSES,
    CNN,
    MLP,
    NETS,
    by_hand,
    cosines,
    dfa,
    draw,
    feedbacks,
    finding,
    labels,
    settle,
)
from torch.nn import functional as F

from faeval.probe import measure
from faeval.verdict.method import Thresholds

N = 24


def net_of(kind):
    return settle(kind())


def read(net, credits, n=N, **options):
    options = {"states": net.STATES, "batch": (net.inputs(n), labels(n))} | options
    return measure(net, credits=credits, **options)


@pytest.mark.parametrize("kind", NETS)
def test_hand_written_dfa_reads_as_by_hand(kind):
    net = net_of(kind).train()
    matrices = feedbacks(kind)
    measured = read(net, dfa(matrices), null="gaussian", probes=8)
    states, gradients, error = by_hand(net, kind.inputs(N), labels(N), kind.STATES)
    assert measured.states == kind.STATES
    assert measured.reference == "autograd"
    for l, r in enumerate(measured.readings):
        credit = error @ matrices[l].double().T
        c = cosines(credit, gradients[l])
        assert r.state == l
        assert r.cosine_mean == pytest.approx(c.mean().item(), abs=1e-5)
        assert r.cosine_std == pytest.approx(c.std().item(), abs=1e-5)
        assert r.reference_norm == pytest.approx(gradients[l].flatten(1).norm(dim=1).mean().item())
        assert r.credit_norm == pytest.approx(credit.norm(dim=1).mean().item(), rel=1e-5)
        assert r.state_norm == pytest.approx(
            states[l].flatten(1).norm(dim=1).mean().item(), rel=1e-5
        )
        assert r.reference_relative_error < 1e-5
        assert r.null.method == "gaussian-feedback"
        assert 0 < r.null.std < 1
        assert r.probes.rho_gradient == pytest.approx(1, abs=1e-2)
        assert r.probes.images == 8
        assert measured.reference_errors[l] < 1e-3
    assert measured.verdict.verdict == "caution"
    assert finding(measured, "depth utility").status == "unmeasured"


@pytest.mark.parametrize("kind", NETS)
def test_the_gradient_itself_has_cosine_one_and_is_told_apart(kind):
    net = net_of(kind)
    _, gradients, _ = by_hand(net, kind.inputs(N), labels(N), kind.STATES)
    for credits in (gradients, dict(zip(kind.STATES, gradients, strict=True)), "backward"):
        twin = copy.deepcopy(net) if credits == "backward" else None
        measured = read(net, credits, twin=twin)
        assert all(r.cosine_quantiles[0] > 1 - 1e-6 for r in measured.readings)
        independent = finding(measured, "independent credit")
        assert independent.status == "flag"
        assert "the credit is the reference at h0, h1, h2" in independent.evidence


def test_forms_of_credit_agree():
    net, matrices = net_of(MLP), feedbacks(MLP)
    seen = []

    def remember(trace):
        seen.append(trace)
        return dfa(matrices)(trace)

    by_function = read(net, remember)
    (trace,) = seen
    assert trace.branches == ()
    assert torch.allclose(
        trace.error, trace.logits.softmax(-1) - F.one_hot(labels(N), CLASSES), atol=1e-6
    )
    tensors = dfa(matrices)(trace)
    assert read(net, tensors) == by_function
    assert read(net, dict(zip(MLP.STATES, tensors, strict=True))) == by_function


def test_any_loss_per_sample():
    net, target = net_of(MLP), draw(N, CLASSES, seed=9)
    measured = read(
        net,
        lambda trace: [h.detach() for h in trace.states],
        batch=(MLP.inputs(N), target),
        loss=lambda output, y: F.mse_loss(output, y, reduction="none").sum(1),
    )
    exact = copy.deepcopy(net).double()
    h = exact.first(MLP.inputs(N).double()).detach().requires_grad_()
    out = exact.head(torch.tanh(exact.third(torch.tanh(exact.second(torch.tanh(h))))))
    g = torch.autograd.grad((out - target.double()).square().sum(), h)[0]
    assert measured.readings[0].cosine_mean == pytest.approx(
        cosines(h.detach(), g).mean().item(), abs=1e-6
    )


def test_drawn_null_agrees_with_the_closed_form():
    net, matrices = net_of(MLP), feedbacks(MLP)
    calls = []

    def fresh(trace, generator):
        calls.append(generator)
        return dfa([torch.randn(B.shape, generator=generator) for B in matrices])(trace)

    drawn = read(net, dfa(matrices), null=fresh, draws=400)
    closed = read(net, dfa(matrices), null="gaussian")
    error = net(MLP.inputs(N)).softmax(-1).detach() - F.one_hot(labels(N), CLASSES)
    by_source = read(net, dfa(matrices), null=[None, error, error])
    assert len(calls) == 400 + 1  # and the one draw that is told beside the null
    for l, (a, b) in enumerate(zip(drawn.readings, closed.readings, strict=True)):
        assert (a.null.method, a.null.draws) == ("monte-carlo", 400)
        assert a.null.std == pytest.approx(b.null.std, rel=0.15)
        assert a.null.p == pytest.approx(b.null.p, abs=0.1)
        assert (by_source.readings[l].null is None) == (l == 0)


def test_the_same_numbers_each_time_and_others_by_generator():
    net, matrices = net_of(MLP), feedbacks(MLP)
    options = {"null": lambda trace, g: [torch.randn(h.shape, generator=g) for h in trace.states]}
    options |= {"draws": 5, "probes": True}

    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        return read(net, dfa(matrices), generator=generator, **options)

    assert read(net, dfa(matrices), **options) == read(net, dfa(matrices), **options)
    assert run(1) == run(1)
    assert run(1) != run(2)


def test_precisions():
    measured = read(net_of(MLP), dfa(feedbacks(MLP)), precisions=(torch.bfloat16, torch.float16))
    for r in measured.readings:
        assert [p.dtype for p in r.precisions] == ["float32", "bfloat16", "float16"]
    assert finding(measured, "half precision").status != "unmeasured"


@settings(max_examples=12, deadline=None)
@given(st.permutations(range(10)))
def test_samples_may_come_in_any_order(order):
    net, x, y = net_of(MLP), MLP.inputs(10), labels(10)
    options = {"null": "gaussian", "direction": False}
    one = read(net, dfa(feedbacks(MLP)), batch=(x, y), **options)
    two = read(net, dfa(feedbacks(MLP)), batch=(x[list(order)], y[list(order)]), **options)
    for a, b in zip(one.readings, two.readings, strict=True):
        assert a.cosine_mean == pytest.approx(b.cosine_mean, abs=1e-6)
        assert a.cosine_quantiles == pytest.approx(b.cosine_quantiles, abs=1e-6)
        assert a.null.std == pytest.approx(b.null.std, rel=1e-6)


def test_one_sample():
    measured = read(net_of(CNN), dfa(feedbacks(CNN)), n=1, null="gaussian", probes=True)
    for r in measured.readings:
        assert r.samples == 1
        assert r.cosine_mean is not None
        assert (r.cosine_low, r.cosine_high, r.direction) == (None, None, None)
    assert "1 sample," in str(measured)


def test_a_sample_that_is_not_finite_is_counted():
    net, x = net_of(CNN), CNN.inputs(N)
    x[3] = math.nan
    measured = read(net, dfa(feedbacks(CNN)), batch=(x, labels(N)), null="gaussian", probes=True)
    for r in measured.readings:
        assert (r.non_finite, r.undefined) == (1, 1)
        assert r.cosine_mean is not None
        assert r.reference_norm is None
    json.dumps(measured.to_json(), allow_nan=False)
    x[:] = math.nan
    nothing = read(net, dfa(feedbacks(CNN)), batch=(x, labels(N)), null="gaussian", probes=True)
    assert all(r.cosine_mean is None and r.non_finite == N for r in nothing.readings)
    assert finding(nothing, "convergence").status == "flag"
    assert nothing.verdict.verdict == "refuse"
    assert "refuse" in str(nothing)


def test_dead_samples_are_counted():
    class Dead(MLP):
        def forward(self, x):
            h = self.second(torch.relu(self.first(x)) * (x[:, :1] > 0))
            return self.head(self.third(torch.relu(h)))

    net, x = net_of(Dead), MLP.inputs(N)
    dead = int((x[:, 0] <= 0).sum())
    measured = read(net, dfa(feedbacks(MLP)), batch=(x, labels(N)))
    assert 0 < dead < N
    assert measured.readings[0].zero >= dead
    assert measured.readings[1].zero < dead


def test_depth_utility_is_judged_over_all_seeds():
    net, B = net_of(MLP), feedbacks(MLP)
    one = read(net, dfa(B), accuracy=0.7, control=0.5)
    assert "one seed" in finding(one, "depth utility").evidence
    many = read(net, dfa(B), accuracy=[0.7, 0.71, 0.69], control=[0.5, 0.5, 0.5])
    assert finding(many, "depth utility").status == "pass"
    assert "3 seeds" in finding(many, "depth utility").evidence
    worse = read(net, dfa(B), accuracy=0.4, control=0.5)
    assert worse.verdict.verdict == "refuse"
    strict = Thresholds(depth_gain=0.3)
    assert (
        finding(
            read(net, dfa(B), accuracy=0.7, control=0.5, thresholds=strict), "depth utility"
        ).status
        == "flag"
    )


def test_it_prints_names_intervals_null_and_verdict_together():
    measured = read(net_of(MLP), dfa(feedbacks(MLP)), null="gaussian", name="my dfa [1]")
    text = str(measured)
    assert text.startswith("my dfa [1]: 24 samples, reference by autograd in float64")
    for word in (
        "h0 first",
        "h2 third",
        "95% images",
        "null",
        "p",
        "verdict: caution",
        "deep credit",
    ):
        assert word in text
    assert "\x1b" not in text
    assert all(len(line) <= 100 and line == line.rstrip() for line in text.splitlines())
    r = measured.readings[0]
    assert f"{r.cosine_low:+.2f} to {r.cosine_high:+.2f}" in text


def test_json_holds_everything():
    measured = read(net_of(MLP), dfa(feedbacks(MLP)), null="gaussian", probes=4)
    plain = measured.to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["readings"][1]["cosine_mean"] == measured.readings[1].cosine_mean
    assert plain["verdict"]["verdict"] == measured.verdict.verdict
    assert len(plain["findings"]) == len(measured.findings)
    with pytest.raises(AttributeError):
        measured.name = "x"
    assert replace(measured) == measured


def test_nothing_is_said_of_what_was_not_seen():
    measured = read(net_of(MLP), dfa(feedbacks(MLP)), null="gaussian", accuracy=0.7, control=0.5)
    assert not {f.check for f in measured.findings} & {"labels", "convergence"}
    active = finding(measured, "rule active")
    assert (active.status, active.consequence) == ("pass", "The credit is not the gradient.")


def test_what_is_missing_is_named_as_an_argument():
    net, B = net_of(MLP), dfa(feedbacks(MLP))

    def evidence(check, **options):
        found = finding(read(net, B, **options), check)
        assert found.status == "unmeasured"
        return found.evidence

    neither = evidence("depth utility")
    assert "accuracy= (" in neither
    assert "control= (" in neither
    assert "give control= (that of the same network" in evidence("depth utility", accuracy=0.7)
    assert "give accuracy= (" in evidence("depth utility", control=[0.5, 0.6])
    assert "no null at h1 second, h2 third: give null=" in evidence("deep credit")
    error = net(MLP.inputs(N)).softmax(-1).detach() - F.one_hot(labels(N), CLASSES)
    assert "no null at h2 third: " in evidence("deep credit", null=[None, error, None])


def test_thresholds_may_be_a_dictionary_and_labels_any_integers():
    net, B = net_of(MLP), dfa(feedbacks(MLP))
    given = read(net, B, thresholds={"depth_gain": 0.3}, accuracy=0.7, control=0.5)
    assert finding(given, "depth utility").threshold == 0.3
    plain = read(net, B)
    assert read(net, B, batch=(MLP.inputs(N), labels(N).to(torch.int32))) == plain
    soft = read(net, B, batch=(MLP.inputs(N), F.one_hot(labels(N), CLASSES).float()))
    for a, b in zip(soft.readings, plain.readings, strict=True):
        assert a.cosine_mean == pytest.approx(b.cosine_mean, abs=1e-5)
