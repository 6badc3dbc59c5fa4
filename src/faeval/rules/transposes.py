"""Other transposes in the backward pass than those of the forward weights.

Rules of granularity `layer` run the network as it is and send errors back through matrices of
their own (Lillicrap et al. 2016), or deliver them directly (Nøkland 2016).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn import grad as conv_grad
from torch.overrides import TorchFunctionMode

from faeval.core.errors import InputError
from faeval.core.reading import Diagnostic
from faeval.core.trace import Trace
from faeval.models.staged import Staged
from faeval.rules.base import diagnostic

Layer = nn.Linear | nn.Conv2d
Substitute = Tensor | Callable[[torch.Size], Tensor]
"""What takes the place of a layer's weight W in the backward pass to its input: a tensor B of
W's shape (δ ↦ Bᵀδ), or a function from the shape of the input to its gradient."""


def weight_layers(module: nn.Module) -> dict[str, Layer]:
    """The linear and convolutional layers in `module` by name, in the order of the network."""
    return {name: m for name, m in module.named_modules() if isinstance(m, Layer)}


def layers_to_replace(model: Staged) -> dict[str, Layer]:
    """`replaceable_layers`, asked once, before feedback is drawn for them: raises InputError also
    where blocks or head hold a matrix outside of such a layer, which would keep its transpose."""
    for part, module in (("blocks", model.blocks), ("head", model.head)):
        for name in _matrices_elsewhere(module):
            raise InputError(
                "blocks and a head whose matrices are the weights of linear or conv2d layers",
                f"{part}.{name}",
                "make it an nn.Linear or nn.Conv2d, or choose a rule of granularity block",
            )
    return replaceable_layers(model)


def replaceable_layers(model: Staged) -> dict[str, Layer]:
    """The weight layers of the blocks and the head: all through which an error goes back to a
    state. Raises InputError where the blocks hold none."""
    blocks = weight_layers(model.blocks)
    if not blocks:
        raise InputError(
            "a model whose blocks hold linear or convolutional layers",
            "none",
            "choose another model, or a rule of granularity block",
        )
    named = {"blocks": blocks, "head": weight_layers(model.head)}
    return {
        f"{part}.{name}".rstrip("."): layer
        for part, layers in named.items()
        for name, layer in layers.items()
    }


def _matrices_elsewhere(module: nn.Module) -> Iterator[str]:
    elementwise = nn.LayerNorm | nn.RMSNorm  # their gains may have the shape of an image
    for prefix, owner in module.named_modules():
        if not isinstance(owner, Layer | elementwise):
            for name, parameter in owner.named_parameters(recurse=False):
                if parameter.ndim > 1:
                    yield f"{prefix}.{name}".lstrip(".")


def drawn(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """A weight (out, in, …) as torch initialises its layers: U(−1/√n, 1/√n), with n inputs to
    a unit."""
    bound = shape[1:].numel() ** -0.5
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def drawn_matrices(model: Staged, generator: torch.Generator) -> dict[str, Tensor]:
    """A matrix `B.name` as `drawn` for every layer whose transpose it is to replace."""
    return {
        f"B.{name}": drawn(layer.weight.shape, generator)
        for name, layer in layers_to_replace(model).items()
    }


def run_through_own(model: Staged, feedback: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Trace:
    """`run_through` the matrices `B.name` of `feedback`; one that is missing is an error."""
    names = replaceable_layers(model)
    return run_through(model, {name: feedback[f"B.{name}"] for name in names}, x, y)


def run_through(model: Staged, matrices: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Trace:
    """One run with graph whose backward pass takes `matrices`, by the names of the layers of
    blocks and head, in place of their weights; the layers without one keep theirs."""
    layers = replaceable_layers(model)
    with substituted({layers[name].weight: B for name, B in matrices.items()}):
        return model.run(x, y, local=False)


def agreement(model: Staged, feedback: Mapping[str, Tensor]) -> list[Diagnostic]:
    """How far the matrices `B.name` agree with the weights whose transposes they replace: cos(B, W)
    over all elements of a layer, of the layer where it is lowest and where it is highest."""
    pairs = [
        (feedback[f"B.{name}"].double().flatten(), layer.weight.detach().double().flatten())
        for name, layer in replaceable_layers(model).items()
    ]
    cosines = [F.cosine_similarity(B, W, dim=0).item() for B, W in pairs]
    return [
        diagnostic("cosine of feedback with weights, lowest of all layers", min(cosines)),
        diagnostic("highest", max(cosines)),
    ]


@contextmanager
def substituted(substitutes: Mapping[Tensor, Substitute]) -> Iterator[None]:
    """Within, layers that use these weights forward get their input's gradient by the
    substitute instead; the gradients of weight and bias stay exact at the δ that arrives.

    What is run within keeps its backward pass for good. No second derivatives.
    """
    with _Substituted({id(weight): s for weight, s in substitutes.items()}):
        yield


class _Substituted(TorchFunctionMode):
    def __init__(self, substitutes: Mapping[int, Substitute]) -> None:
        super().__init__()
        self.substitutes = substitutes

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _ARGUMENTS:
            x, weight, *rest = _ARGUMENTS[func](*args, **(kwargs or {}))
            substitute = self.substitutes.get(id(weight))
            if substitute is not None:
                apply = _Linear if func is F.linear else _Conv2d
                return apply.apply(x, weight, substitute, *rest)
        return func(*args, **(kwargs or {}))


def _linear_arguments(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Any, ...]:
    return input, weight, bias


def _conv2d_arguments(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Any, ...]:
    """As called, but with a padding by name made part of the input."""
    if isinstance(padding, str):
        if padding == "same":
            steps = dilation if isinstance(dilation, Sequence) else (dilation, dilation)
            rims = [d * (k - 1) for d, k in zip(steps, weight.shape[2:], strict=True)]
            input = F.pad(input, [side for r in reversed(rims) for side in (r // 2, r - r // 2)])
        padding = 0
    return input, weight, bias, stride, padding, dilation, groups


_ARGUMENTS = {F.linear: _linear_arguments, F.conv2d: _conv2d_arguments}


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, substitute: Substitute, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.substitute = substitute
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (delta,), (x,), s = grads, ctx.saved_tensors, ctx.substitute
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = delta @ s if isinstance(s, Tensor) else s(x.shape)
        rows = delta.flatten(0, -2)
        if ctx.needs_input_grad[1]:
            to_weight = rows.T @ x.flatten(0, -2)
        if ctx.needs_input_grad[3]:
            to_bias = rows.sum(0)
        return to_x, to_weight, None, to_bias


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        substitute: Substitute,
        bias: Tensor | None,
        *how: Any,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.substitute, ctx.how = substitute, how
        return F.conv2d(x, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (delta,), (x, weight), s = grads, ctx.saved_tensors, ctx.substitute
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = (
                conv_grad.conv2d_input(x.shape, s, delta, *ctx.how)
                if isinstance(s, Tensor)
                else s(x.shape)
            )
        if ctx.needs_input_grad[1]:
            to_weight = conv_grad.conv2d_weight(x, weight.shape, delta, *ctx.how)
        if ctx.needs_input_grad[3]:
            to_bias = delta.sum((0, 2, 3))
        return to_x, to_weight, None, to_bias, *[None] * len(ctx.how)
