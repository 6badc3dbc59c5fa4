"""Direct feedback alignment to every layer, inside the blocks too (Nøkland 2016, eq. 7)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from faeval.core.errors import InputError
from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import RULES, Claims, Feedback, Rule
from faeval.rules.direct import delivered, gaussian, one_per_state, rows, to_states
from faeval.rules.positions import Tokens
from faeval.rules.transposes import (
    layers_to_replace,
    replaceable_layers,
    substituted,
    weight_layers,
)


@RULES.register("dfa_layer")
@dataclass(frozen=True)
class DFALayer(Rule):
    """a_l = e_T B_lᵀ at every state, as in `dfa`; and in blocks and head every linear or
    convolutional layer i hands e_T B_iᵀ to its input in place of W_iᵀδ (arXiv 1609.01596).

    All B are fixed, with a row for each element of what they reach and entries N(0, scale²/C).
    What lies between two weight layers (norms, activations, attention's products) is
    differentiated as it is, and so is the stem, one stage. A penalty on f_l reaches the last
    layer of block l only, for nothing but e_T goes further in.

    e_T is (N, C), a_l has the shape of h_l; `tokens` as in `dfa`. `init` raises InputError where
    the blocks hold no weight layer, or one that sees something else than one row per sample.
    """

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    tokens: Tokens = "each"

    @property
    def claims(self) -> Claims:
        return Claims(
            uses_labels=True,
            transports_weights="nothing",
            direct=True,
            granularity="layer",
            gaussian_in="error" if self.tokens == "each" else None,
            equals_bp="every B is the logits' transposed Jacobian at what it reaches",
        )

    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        draw = gaussian(self.scale, generator)
        feedback = one_per_state(model, self.tokens, draw)
        shapes = _input_shapes(model)
        for name in layers_to_replace(model):
            feedback[name] = draw(rows(shapes[name], self.tokens), model.classes)
        return feedback

    def run(self, model: Staged, feedback: Feedback, x: Tensor, y: Tensor) -> Trace:
        mean_error: list[Tensor] = []  # known after the forward pass, asked for in the backward

        def direct(B: Tensor) -> Callable[[torch.Size], Tensor]:
            return lambda shape: delivered(mean_error[0], B, shape, self.tokens)

        layers = replaceable_layers(model)
        with substituted({layer.weight: direct(feedback[n]) for n, layer in layers.items()}):
            trace = model.run(x, y, local=True, input_gradients=True)
        # Teaching divides by N what it hands to a stage; this is handed over inside.
        mean_error.append(trace.error / len(trace.error))
        return trace

    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        return to_states(trace.error, feedback, trace, self.tokens)


def _input_shapes(model: Staged) -> dict[str, tuple[int, ...]]:
    """What each weight layer of blocks and head sees of one sample: asked by one backward pass
    of two samples, as training will ask. Leaves the model as it was."""
    stages = {f"blocks.{l}": block for l, block in enumerate(model.blocks)} | {"head": model.head}
    seen: dict[str, torch.Size] = {}

    def record(name: str, h: Tensor) -> Callable[[torch.Size], Tensor]:
        return lambda shape: h.new_zeros(seen.setdefault(name, shape))

    for (stage, module), shape in zip(stages.items(), model.state_shapes, strict=True):
        h = next(module.parameters(), torch.zeros(())).new_zeros(2, *shape).requires_grad_()
        layers = {f"{stage}.{n}".rstrip("."): layer for n, layer in weight_layers(module).items()}
        with substituted({layer.weight: record(name, h) for name, layer in layers.items()}):
            out = functional_call(module, {n: b.clone() for n, b in module.named_buffers()}, (h,))
        torch.autograd.grad(out.sum(), h)
        for name in layers:
            if name not in seen or seen[name][0] != 2:
                raise InputError(
                    f"one row per sample at the layer {name!r}",
                    f"{tuple(seen[name])} for two samples" if name in seen else "no call of it",
                    "choose another model, or the rule dfa",
                )
    return {name: tuple(shape[1:]) for name, shape in seen.items()}
