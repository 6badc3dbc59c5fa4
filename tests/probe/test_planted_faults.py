"""A linear network with known answers, healthy once and then with one fault planted at a time.

logits = J_l h_l at every state, so g_l = J_lᵀ e, and the credit B_l e with B_l = s·J_lᵀ + noise
has a cosine that a line of algebra gives. The task is the network itself: labels are what the
healthy one answers, so that its accuracy is 1, and a control's can be counted.
"""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from faeval.core.random import generator
from faeval.probe import Measured, measure

WIDTH, CLASSES, DEPTH, N = 64, 5, 3, 320
STATES = ["stem", *(f"blocks.{i}" for i in range(DEPTH))]
ROTATED = 1.0  # the strength of the noise in B_l against J_lᵀ: cosine about 1/√2


class Linear(nn.Module):
    """stem → blocks → head, all of them matrices, in float32."""

    def __init__(self, matrices: list[Tensor]) -> None:
        super().__init__()
        layers = [nn.Linear(m.shape[1], m.shape[0], bias=False) for m in matrices]
        for layer, m in zip(layers, matrices, strict=True):
            layer.weight = nn.Parameter(m.clone())
        self.stem, self.head = layers[0], layers[-1]
        self.blocks = nn.ModuleList(layers[1:-1])

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = block(h)
        return self.head(h)


@dataclass
class Case:
    """What is measured; a fault changes one of these."""

    matrices: list[Tensor]
    x: Tensor
    y: Tensor
    feedback: list[Tensor] = field(default_factory=list)
    accuracy: float = 1.0
    control: float = 0.5

    @property
    def jacobians(self) -> list[Tensor]:
        """J_0 … J_L, each (C, d)."""
        found, product = [], torch.eye(CLASSES)
        for matrix in reversed(self.matrices[1:]):
            product = product @ matrix
            found.append(product)
        return found[::-1]

    def measured(self, credits=None, **options) -> Measured:
        return measure(
            Linear(self.matrices),
            states=STATES,
            batch=(self.x, self.y),
            credits=credits or (lambda trace: [trace.error @ B.T for B in self.feedback]),
            null="gaussian",
            accuracy=self.accuracy,
            control=self.control,
            precisions=(torch.float16,),
            name="planted",
            **options,
        )


def orthogonal(name: str) -> Tensor:
    return torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator(0, name))).Q


def noisy(jacobian: Tensor, name: str, noise: float = ROTATED) -> Tensor:
    """Jᵀ plus Gaussian noise of `noise` times its size."""
    other = torch.randn(WIDTH, CLASSES, generator=generator(0, name))
    return jacobian.T + noise * other * jacobian.norm() / other.norm()


def accuracy(matrices: list[Tensor], x: Tensor, y: Tensor) -> float:
    return (Linear(matrices)(x).argmax(1) == y).float().mean().item()


def healthy() -> Case:
    blocks = [orthogonal(f"block {i}") for i in range(DEPTH)]
    head = torch.randn(CLASSES, WIDTH, generator=generator(0, "head")) / 8
    case = Case(
        [orthogonal("stem"), *blocks, head],
        torch.randn(N, WIDTH, generator=generator(0, "x")),
        torch.zeros(N, dtype=torch.long),
    )
    case.y = Linear(case.matrices)(case.x).argmax(1)
    case.accuracy = accuracy(case.matrices, case.x, case.y)
    frozen = [case.matrices[0], *(orthogonal(f"frozen {i}") for i in range(DEPTH)), head]
    case.control = accuracy(frozen, case.x, case.y)
    case.feedback = [noisy(J, f"B{l}") for l, J in enumerate(case.jacobians)]
    return case


def flagged(measured: Measured) -> dict[str, str]:
    """What did not pass, and its severity."""
    return {f.check: f.severity for f in measured.findings if f.status != "pass"}


def evidence(measured: Measured, check: str) -> str:
    return next(f.sentence for f in measured.findings if f.check == check)


def test_the_healthy_network_is_trusted_and_its_numbers_are_those_of_algebra():
    case = healthy()
    assert case.accuracy == 1.0
    assert case.control < 0.5
    measured = case.measured()
    assert flagged(measured) == {}
    assert measured.verdict.verdict == "trust"
    error = Linear(case.matrices)(case.x).softmax(-1).detach()
    error = (error - nn.functional.one_hot(case.y, CLASSES)).double()
    for r, J, B in zip(measured.readings, case.jacobians, case.feedback, strict=True):
        g, a = error @ J.double(), error @ B.double().T
        cosines = (g * a).sum(1) / (g.norm(dim=1) * a.norm(dim=1))
        assert r.cosine_mean == pytest.approx(cosines.mean().item(), abs=1e-6)
        g, e = (t / t.norm(dim=1, keepdim=True) for t in (g, error))
        closed = (g.T @ e / N).norm().item() / WIDTH**0.5
        assert r.null is not None
        assert r.null.std == pytest.approx(closed, rel=0.02)
    utility = next(f for f in measured.findings if f.check == "depth utility")
    assert utility.value == pytest.approx(case.accuracy - case.control)


def test_exploding_states():
    case = healthy()
    case.matrices[2] = case.matrices[2] * 1000
    case.matrices[-1] = case.matrices[-1] / 1000  # the function is the same
    case.feedback = [noisy(J, f"B{l}") for l, J in enumerate(case.jacobians)]
    measured = case.measured()
    assert {c: s for c, s in flagged(measured).items() if s != "note"} == {
        "scale stability": "caution"
    }
    assert measured.verdict.verdict == "caution"
    assert "grows at most 1e+03× per block (into h2" in evidence(measured, "scale stability")


def test_an_fp16_underflow():
    """Tiny gradients are real in float32; in float16 without loss scaling none is left."""
    case = healthy()
    case.matrices[-1] = case.matrices[-1] * 1e-5
    case.feedback = [noisy(J, f"B{l}") for l, J in enumerate(case.jacobians)]
    measured = case.measured()
    assert flagged(measured) == {"published floor": "note", "half precision": "note"}
    assert measured.verdict.verdict == "trust"
    assert f"{N} of {N} samples lost" in evidence(measured, "half precision")
    for r in measured.readings:
        float32, float16 = r.precisions
        assert (float32.relative_error or 1) < 1e-5
        assert float16.samples_lost == N
        assert float16.conclusion_changes


def test_drift():
    """One label and logits near zero: every sample has nearly the same error."""
    case = healthy()
    case.matrices[-1] = case.matrices[-1] * 1e-2
    case.y = torch.zeros(N, dtype=torch.long)
    case.feedback = [noisy(J, f"B{l}") for l, J in enumerate(case.jacobians)]
    measured = case.measured()
    assert flagged(measured) == {"direction drift": "caution"}
    coherence = measured.readings[0].direction
    assert coherence is not None
    assert coherence.coherence == pytest.approx(1.0, abs=0.01)


def test_a_stem_that_carries_the_mean():
    case = healthy()
    case.feedback[0] = noisy(case.jacobians[0], "B0", noise=0.2)
    case.feedback[1:] = [noisy(J, f"B{l}", noise=30) for l, J in enumerate(case.jacobians[1:])]
    measured = case.measured()
    assert flagged(measured) == {"deep credit": "caution", "layer mean": "caution"}
    assert "h0 holds" in evidence(measured, "layer mean")


def test_a_last_state_that_is_1_by_construction_and_carries_the_mean():
    case = healthy()
    for l in range(DEPTH):
        case.feedback[l] = noisy(case.jacobians[l], f"B{l}", noise=5)
    case.feedback[-1] = case.jacobians[-1].T.contiguous()
    measured = case.measured()
    assert {"independent credit", "layer mean"} <= set(flagged(measured))
    assert measured.verdict.verdict == "caution"
    assert "the credit is the reference at h3" in evidence(measured, "independent credit")
    assert "h3 holds" in evidence(measured, "layer mean")


def test_blocks_that_do_nothing():
    """The trained blocks are those of the control."""
    case = healthy()
    case.control = accuracy(case.matrices, case.x, case.y)
    measured = case.measured()
    assert flagged(measured) == {"depth utility": "refuse"}
    assert measured.verdict.verdict == "refuse"
    assert "gains nothing" in evidence(measured, "depth utility")


def test_blocks_that_do_harm():
    """The trained blocks turn the classes into one another; random ones would not."""
    case = healthy()
    turned = [*case.matrices[:-1], case.matrices[-1].roll(1, dims=0)]
    case.accuracy = accuracy(turned, case.x, case.y)
    measured = case.measured()
    assert flagged(measured) == {"depth utility": "refuse"}
    assert "does harm" in evidence(measured, "depth utility")


def test_feedback_that_is_not_the_trained_one():
    case = healthy()
    case.feedback = [
        torch.randn(WIDTH, CLASSES, generator=generator(1, f"other {l}")) for l in range(DEPTH + 1)
    ]
    measured = case.measured()
    assert "deep credit" in flagged(measured)
    assert measured.verdict.verdict != "trust"
    assert "not above fresh feedback" in evidence(measured, "deep credit")


def test_a_rule_that_is_backpropagation_in_disguise():
    case = healthy()
    case.feedback = [J.T.contiguous() for J in case.jacobians]
    measured = case.measured()
    assert flagged(measured)["rule active"] == "refuse"
    assert measured.verdict.verdict == "refuse"
    assert "in disguise" in evidence(measured, "rule active")
