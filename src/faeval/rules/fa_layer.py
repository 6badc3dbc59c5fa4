"""Feedback alignment from layer to layer, inside the blocks too (Lillicrap et al. 2016)."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule, backward_credit
from faeval.rules.transposes import Layer, layers_to_replace, replaceable_layers, run_through


@RULES.register("fa_layer")
@dataclass(frozen=True)
class FALayer(Rule):
    """δ ↦ Bᵀδ with a fixed random B of W's shape in place of W, in every linear and
    convolutional layer of the blocks (10.1038/ncomms13276). Everything else, residual paths
    and norms too, is differentiated as it is.

    scale  B ~ N(0, scale²/n), n the inputs to one unit (in_features, or in_channels·k²): at
           1, ‖Bᵀδ‖ = ‖δ‖ in expectation, so that an error neither fades nor grows with depth
           by chance, and of the order of W's own entries at the start (torch's default has
           the variance 1/(3n))
    start  "gradient": the head keeps its transposes, as in `fa`, and the cosine at h_L is 1 by
           construction. "error": its layers are replaced as well

    a_l is what the backward pass meets at h_l, of its shape. The stem is taught as one stage,
    by its exact vector–Jacobian product with a_0. `init` raises InputError where the blocks
    hold no weight layer.
    """

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    start: Literal["gradient", "error"] = "gradient"

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="head" if self.start == "gradient" else "nothing",
            granularity="layer",
            equals_bp="every B is the weight that it replaces",
            end_to_end=True,
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        return {
            name: torch.randn(layer.weight.shape, generator=generator)
            * (self.scale / layer.weight[0].numel() ** 0.5)
            for name, layer in self._replaced(layers_to_replace(model)).items()
        }

    def run(self, model: Staged, feedback: Feedback, x: Tensor, y: Tensor) -> Trace:
        # By name, so that a matrix that is missing is an error and never the weight itself.
        matrices = {name: feedback[name] for name in self._replaced(replaceable_layers(model))}
        return run_through(model, matrices, x, y)

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return backward_credit(trace)

    def _replaced(self, layers: dict[str, Layer]) -> dict[str, Layer]:
        if self.start == "error":
            return layers
        return {name: layer for name, layer in layers.items() if not name.startswith("head")}
