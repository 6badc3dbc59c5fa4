"""State Bridge: credit through a learned predictor of the terminal state (arXiv 2606.21126)."""

from dataclasses import dataclass
from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from faeval.core.reading import Diagnostic
from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule, diagnostic, terminal_gradient
from faeval.rules.learning import descend
from faeval.rules.predictor import draw_predictor, follow_scales, parameters, predict


@RULES.register("state_bridge")
@dataclass(frozen=True)
class StateBridge(Rule):
    """a_l = (∂P(h_l, l)/∂h_l)ᵀ g_L, shape of h_l, per sample, where P predicts h_L from h_l.

    P(h, l) = S_L p(h / S_l, l) with a small network p shared by all states (`predictor.py`) and
    S_l the running root mean square of h_l; of h_L itself it is the identity, so that a_L = g_L
    by construction, which is no evidence of anything. Learned online, one AdamW step per batch,
    on the normalised squared error, mean over samples and over l < L:

        ‖P(h_l, l) − h_L‖² / ‖h_L‖².

    g_L = ∂ℓ_n/∂h_L goes through the head's exact transpose. Block-local. Every image meets P
    where the network has put its states: off them, and so in its derivative, P is as good as it
    generalises.

    width          of the predictor's two hidden layers
    learning_rate  of the predictor, constant; the weight decay is the network's

    init raises InputError where the states are too large for the predictor.
    """

    width: Annotated[int, Field(ge=1)] = 256
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="head",
            granularity="block",
            equals_bp="∂P/∂h_l is the Jacobian of h_L with respect to h_l",
            feedback="learned",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        shapes = model.state_shapes
        return draw_predictor(shapes, prod(shapes[-1]), self.width, generator)

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        g = terminal_gradient(trace)
        scale = feedback["scale"]

        def through_predictor(l: int, h: Tensor) -> Tensor:
            with torch.enable_grad():
                x = (h.detach() / scale[l]).requires_grad_()
                last = predict(feedback, x, l)
                back = torch.autograd.grad(last, x, g.flatten(1))[0]
            return back * (scale[-1] / scale[l])

        return [*(through_predictor(l, h) for l, h in enumerate(trace.states[:-1])), g]

    def update(
        self,
        model: Staged,
        trace: Trace,
        feedback: Feedback,
        *,
        learning_rate: float,
        weight_decay: float,
        generator: torch.Generator,
    ) -> None:
        follow_scales(feedback, trace)
        p = parameters(feedback)
        with torch.enable_grad():
            loss = self._errors(trace, p, feedback["scale"]).mean()
        descend(feedback, loss, p, learning_rate=self.learning_rate, weight_decay=weight_decay)

    def diagnostics(self, model: Staged, trace: Trace, feedback: Feedback) -> list[Diagnostic]:
        """The normalised squared error of the predictor from each state, mean over samples."""
        with torch.no_grad():
            errors = self._errors(trace, feedback, feedback["scale"]).mean(1)
        return [diagnostic(f"prediction error h{l}", e) for l, e in enumerate(errors.tolist())]

    @staticmethod
    def _errors(trace: Trace, p: Feedback, scale: Tensor) -> Tensor:
        """‖P(h_l, l) − h_L‖² / ‖h_L‖², (L, N)."""
        xs = [h.detach().flatten(1) / s for h, s in zip(trace.states, scale, strict=True)]
        off = [(predict(p, x, l) - xs[-1]).square().sum(1) for l, x in enumerate(xs[:-1])]
        size = xs[-1].square().sum(1)
        return torch.stack(off) / torch.where(size > 0, size, 1.0)
