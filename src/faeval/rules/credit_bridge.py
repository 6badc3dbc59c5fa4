"""Credit Bridge: credit as the gradient of a learned value (arXiv 2606.21126)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from faeval.core.reading import Diagnostic
from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule, diagnostic, terminal_gradient
from faeval.rules.learning import descend
from faeval.rules.predictor import draw_predictor, follow_scales, move, parameters, predict


@RULES.register("credit_bridge")
@dataclass(frozen=True)
class CreditBridge(Rule):
    """a_l = ∇_h V(h_l, l, e_T), shape of h_l, per sample, with a learned scalar value

        V(h, l, e) = c e · v(h / S_l, l),

    v a small network with C outputs (`predictor.py`), S_l the running root mean square of h_l and
    c a running scale. V is linear in e_T, as the gradient J_lᵀ e_T is that it stands for; with
    v the logits as a function of h_l it is that gradient. Learned online, one AdamW step per
    batch, on the sum of

        ‖∇_h V(h_L, L, e_T) − g_L‖² / ‖g_L‖²                                       (terminal)
        (Δ_l − Δ_{l+1})² / (2σ S_L ‖g_L‖)²,  l < L, summed over l                (consistency)
        Δ_l = V(h_l + ξ, l, e_T) − V(h_l − ξ, l, e_T),
        Δ_{l+1} = V(F_l(h_l + ξ), l+1, e_T) − V(F_l(h_l − ξ), l+1, e_T),

    means over samples, F_l the network's own map and ξ ~ N(0, σ² S_l²) per element. The
    consistency is that of V between neighbours at two noisy samples, taken as a difference: the
    level of V drops out, which a constant could please and no credit depends on. For small σ its
    mean over ξ is ‖S_l (∇V_l − J_lᵀ ∇V_{l+1})‖² / ‖S_L g_L‖², so that both terms vanish where
    a_l = g_l. Δ_{l+1} is a fixed target: what the terminal condition teaches goes down, not up.

    The credit reads no weights; the terminal condition is learned from g_L, which the head's
    transpose gives. Block-local.

    width          of the value network's two hidden layers
    learning_rate  of the value network, constant; the weight decay is the network's
    noise          σ

    init raises InputError where the states are too large for the value network.
    """

    width: Annotated[int, Field(ge=1)] = 256
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    noise: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="nothing",
            granularity="block",
            equals_bp="∇_h v is the Jacobian of the logits with respect to h_l",
            feedback="learned",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        drawn = draw_predictor(model.state_shapes, model.classes, self.width, generator)
        return {**drawn, "value_scale": torch.ones(())}

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        scale, e = feedback["scale"], feedback["value_scale"] * trace.error
        credits = []
        for l, h in enumerate(trace.states):
            with torch.enable_grad():
                x = (h.detach() / scale[l]).requires_grad_()
                credits.append(torch.autograd.grad(predict(feedback, x, l), x, e)[0] / scale[l])
        return credits

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
        goal, weight = _goal(trace, feedback)
        move(feedback["value_scale"], goal.norm() / trace.error.norm(), feedback["steps"])
        p = parameters(feedback)
        e = weight * feedback["value_scale"] * trace.error
        with torch.enable_grad():
            loss = _terminal(trace, p, feedback["scale"], e, weight * goal).mean()
            for l in range(len(trace.branches)):
                z = torch.randn(trace.states[l].shape, generator=generator).to(e)
                xi = self.noise * feedback["scale"][l] * z
                gap = _consistency(trace, l, p, feedback["scale"], e, xi)
                loss = loss + (gap / (2 * self.noise)).square().mean()
        descend(feedback, loss, p, learning_rate=self.learning_rate, weight_decay=weight_decay)

    def diagnostics(self, model: Staged, trace: Trace, feedback: Feedback) -> list[Diagnostic]:
        """The terminal condition's relative squared error, mean over samples."""
        goal, weight = _goal(trace, feedback)
        e = weight * feedback["value_scale"] * trace.error
        with torch.enable_grad():
            errors = _terminal(trace, feedback, feedback["scale"], e, weight * goal)
        return [diagnostic("terminal error", errors.mean().item())]


def _goal(trace: Trace, feedback: Feedback) -> tuple[Tensor, Tensor]:
    """S_L g_L, (N, d_L): the gradient in the units of the value network; and one over its norm,
    (N, 1), by which a sample is weighed: 0 for one without gradient, which teaches nothing."""
    goal = terminal_gradient(trace).flatten(1) * feedback["scale"][-1]
    size = goal.norm(dim=1, keepdim=True)
    return goal, torch.where(size > torch.finfo(size.dtype).tiny, 1 / size, 0.0)


def _terminal(trace: Trace, p: Feedback, scale: Tensor, e: Tensor, goal: Tensor) -> Tensor:
    """‖∇_x V(x_L, L, e) − goal‖² per sample, (N,), with graph to the value network."""
    x = (trace.states[-1].detach().flatten(1) / scale[-1]).requires_grad_()
    value = predict(p, x, len(trace.states) - 1)
    slope = torch.autograd.grad(value, x, e, create_graph=True)[0]
    return (slope - goal).square().sum(1)


def _consistency(trace: Trace, l: int, p: Feedback, scale: Tensor, e: Tensor, xi: Tensor) -> Tensor:
    """Δ_l − Δ_{l+1} per sample, (N,), with graph to the value network through Δ_l alone."""

    def difference(state: int, plus: Tensor, minus: Tensor) -> Tensor:
        up, down = (predict(p, h / scale[state], state) for h in (plus, minus))
        return ((up - down) * e).sum(1)

    plus, minus = trace.states[l].detach() + xi, trace.states[l].detach() - xi
    with torch.no_grad():
        target = difference(l + 1, trace.maps[l](plus), trace.maps[l](minus))
    return difference(l, plus, minus) - target
