"""The credits that a rule offers on a batch, as they are compared with the gradients."""

from torch import Tensor

from faeval.core.trace import Trace
from faeval.models import Staged
from faeval.rules import Feedback, Rule
from faeval.train.step import CreditAt


def run_and_credit(
    rule: Rule, model: Staged, feedback: Feedback, x: Tensor, y: Tensor, credit_at: CreditAt
) -> tuple[Trace, list[Tensor]]:
    """One run of the rule on x (N, …), y, and its credit at every state."""
    trace = rule.run(model, feedback, x, y)
    return trace, credit_of(rule, trace, feedback, credit_at)


def credit_of(rule: Rule, trace: Trace, feedback: Feedback, credit_at: CreditAt) -> list[Tensor]:
    """The credit at every state of a trace, as it is compared with g_l there.

    With `credit_at="input"` a direct rule never used its credit at h_L: what taught the block
    whose output that is, a_{L-1}, is read there, as the published runs do. Where the credits are
    made from a_L downwards, a_L was in use all the same.
    """
    credits = rule.credit(trace, feedback)
    if credit_at == "output" or not rule.claims.direct:
        return credits
    return [*credits[:-1], credits[-2]]
