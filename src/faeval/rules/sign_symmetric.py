"""Sign-symmetric feedback: the signs of the weights, magnitudes of its own (Liao et al. 2016)."""

from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule, backward_credit
from faeval.rules.transposes import drawn, layers_to_replace, replaceable_layers, substituted


class SignSymmetric(Rule):
    """δ ↦ Bᵀδ with B = M ⊙ sign(W) in place of W, in every weight layer of the blocks and the
    head (Liao, Leibo & Poggio 2016, arXiv 1510.05067; Moskovitz, Litwin-Kumar & Abbott 2018,
    arXiv 1812.06488). M ≥ 0 is the feedback; the signs are those of the weights at every step.

    The magnitudes are of the size of torch's default initialisation, U(−1/√n, 1/√n) with n
    inputs to a unit, and know nothing of the weights: taken from these, they would be carried
    over with every fresh draw for a trained network. sign(0) = 0: a weight of zero carries
    nothing back, as it carries nothing forward.

    a_l is what the backward pass meets at h_l, of its shape. `init` raises InputError where
    the blocks hold no weight layer.
    """

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="signs",
            granularity="layer",
            equals_bp="every weight has the magnitude that M gives it",
            end_to_end=True,
            feedback="fixed",
        )

    @abstractmethod
    def magnitude(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """M for a weight (out, in, …): of its shape, or one number for all of it."""

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        return {
            f"M.{name}": self.magnitude(layer.weight.shape, generator)
            for name, layer in layers_to_replace(model).items()
        }

    def fresh(self, model: Staged, generator: torch.Generator) -> Feedback:
        """M with random signs, so that M ⊙ sign(W) is as likely positive as negative wherever
        W is: with a fresh M ≥ 0 the null would still hold the signs of the trained weights."""
        feedback = self.init(model, generator)
        for name, layer in replaceable_layers(model).items():
            signs = drawn(layer.weight.shape, generator).sign_()
            feedback[f"M.{name}"] = feedback[f"M.{name}"] * signs
        return feedback

    def run(self, model: Staged, feedback: Feedback, x: Tensor, y: Tensor) -> Trace:
        with substituted(self.matrices(model, feedback)):
            return model.run(x, y, local=False)

    def matrices(self, model: Staged, feedback: Feedback) -> dict[Tensor, Tensor]:
        """B for every weight W that is replaced, of its shape: M ⊙ sign(W) as W is now."""
        return {
            layer.weight: layer.weight.detach().sign().mul_(feedback[f"M.{name}"])
            for name, layer in replaceable_layers(model).items()
        }

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return backward_credit(trace)


@RULES.register("usf")
@dataclass(frozen=True)
class USF(SignSymmetric):
    """B = μ sign(W), one magnitude per layer: μ = 1/√(3n), the root mean square of torch's
    default initialisation for n inputs to a unit.

    Nothing is drawn. The signs alone point B at a Gaussian W with cosine √(2/π) = 0.80. See
    `SignSymmetric`.
    """

    @property
    def claims(self) -> Claims:
        limit = "every weight of a layer has the magnitude μ"
        return replace(super().claims, equals_bp=limit)

    def magnitude(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        return torch.tensor((3 * shape[1:].numel()) ** -0.5)


@RULES.register("frsf")
@dataclass(frozen=True)
class FRSF(SignSymmetric):
    """B = M ⊙ sign(W) with fixed i.i.d. M ~ U(0, 1/√n), n inputs to a unit: the magnitudes of
    another default initialisation.

    Its cosine with a Gaussian W is √(2/π)·√3/2 = 0.69. See `SignSymmetric`.
    """

    def magnitude(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        return drawn(shape, generator).abs_()


@RULES.register("brsf")
@dataclass(frozen=True)
class BRSF(SignSymmetric):
    """B = M ⊙ sign(W) with M ~ U(0, 1/√n) as in `frsf`, drawn again after every batch.

    A reading is that of the last draw. See `SignSymmetric`.
    """

    @property
    def claims(self) -> Claims:
        return replace(super().claims, feedback="redrawn")

    def magnitude(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        return drawn(shape, generator).abs_()

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
        for M in feedback.values():
            M.copy_(self.magnitude(M.shape, generator))
