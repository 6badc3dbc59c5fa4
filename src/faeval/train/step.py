"""The one training step: every rule teaches every stage through the same call."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import Feedback, Rule
from faeval.train.adamw import AdamW

CreditAt = Literal["output", "input"]


def teach(
    trace: Trace,
    credits: Sequence[Tensor] | None,
    *,
    penalty: float = 0.0,
    credit_at: CreditAt = "output",
) -> None:
    """Accumulate into `.grad` what one batch teaches every trainable parameter.

    Stage by stage, the vector–Jacobian product of its output with its credit, and of the
    head with e_T, all divided by N: the gradient of mean_n ⟨h_l, a_l⟩ at fixed input.
    With `credit_at="input"` block l is taught by a_l instead of a_{l+1}. `credits=None`
    backpropagates the mean loss itself (end-to-end rules).

    The penalty is λ · mean_n Σ_l ‖f_l‖², squared norms summed over features: it adds 2λf_l/N
    to the cotangent of every branch that depends on a trainable parameter. In a local trace
    that is its own block alone; in one with graph it reaches everything upstream, as it must.
    """
    n = len(trace.loss)
    outputs: list[Tensor]
    cotangents: list[Tensor]
    if credits is None:
        outputs, cotangents = [trace.loss], [torch.full_like(trace.loss, 1 / n)]
    else:
        taught = credits if credit_at == "output" else [credits[0], *credits[:-1]]
        outputs = [*trace.states, trace.logits]
        scaled = torch._foreach_div  # pyright: ignore[reportPrivateImportUsage]
        cotangents = list(scaled([*taught, trace.error], float(n)))
    if penalty:
        outputs += trace.branches
        cotangents += [f.detach() * (2 * penalty / n) for f in trace.branches]
    teachable = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
    torch.autograd.backward([o for o, _ in teachable], [c for _, c in teachable])


def step(
    model: Staged,
    rule: Rule,
    feedback: Feedback,
    optimizer: AdamW,
    x: Tensor,
    y: Tensor,
    *,
    learning_rate: float,
    penalty: float = 0.0,
    credit_at: CreditAt = "output",
    generator: torch.Generator | None = None,
) -> Trace:
    """One optimiser step on the batch x (N, …), y; returns the trace it learned from.

    Learned feedback is updated in place, with noise from `generator` (a fixed one by default).
    """
    optimizer.zero_grad()
    trace = rule.run(model, feedback, x, y)
    credits = None if rule.claims.end_to_end else rule.credit(trace, feedback)
    teach(trace, credits, penalty=penalty, credit_at=credit_at)
    rule.update(
        model,
        trace,
        feedback,
        learning_rate=learning_rate,
        weight_decay=optimizer.weight_decay,
        generator=generator or torch.Generator(),
    )
    optimizer.step(learning_rate)
    return trace
