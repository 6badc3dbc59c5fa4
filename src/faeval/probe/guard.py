"""Measuring without leaving a trace: what is around a measurement is put back, whatever happens."""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from faeval.core.errors import InputError


@contextmanager
def undisturbed(*modules: nn.Module) -> Iterator[None]:
    """Whatever happens inside, `modules` and torch's global state are the same afterwards.

    Put back, also after an exception: every attribute of every submodule (modes, hooks, what a
    library keeps there), one level into lists, dictionaries and sets; every tensor found there,
    as the same object with the same bits, `requires_grad` and `.grad` (again object and bits);
    the global random state of the CPU and of CUDA; grad, inference and autocast mode.

    Inside, grad mode is on, inference mode and autocast are off. Not seen: what hooks and
    callables change outside of the modules. A tensor that kept its bits is not written to, so
    that a graph that is waiting for its backward pass stays valid.
    """
    kept = [_Kept(module) for module in modules]
    devices = {"cpu"} | {t.device.type for k in kept for t in k.tensors} - {"meta"}
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in sorted(devices):
            stack.enter_context(torch.autocast(device, enabled=False))
        for state in kept:
            stack.callback(state.restore)
        yield


def duplicate(module: nn.Module) -> nn.Module:
    """A deep copy, also of a module that keeps results of its last pass with their graph.

    Raises InputError where something in the module cannot be copied.
    """
    # `deepcopy` refuses a tensor with a graph; its value will do.
    results = {id(t): t.detach().clone() for t in _tensors(module) if not t.is_leaf}
    try:
        return copy.deepcopy(module, results)
    except Exception as error:
        raise InputError(
            "a module that copy.deepcopy can copy",
            f"{type(module).__name__} ({type(error).__name__}: {error})",
            "keep what cannot be copied outside of the module",
        ) from error


@dataclass(frozen=True)
class _Content:
    """What a tensor held, and its gradient."""

    tensor: Tensor
    values: Tensor | None
    requires_grad: bool
    grad: Tensor | None
    grad_values: Tensor | None

    @staticmethod
    def of(t: Tensor) -> "_Content":
        grad = t.grad if t.is_leaf else None
        return _Content(
            t, _values(t), t.requires_grad, grad, None if grad is None else _values(grad)
        )

    def restore(self) -> None:
        t = self.tensor
        _write(t, self.values)
        if not t.is_leaf:
            return
        if t.requires_grad != self.requires_grad:
            t.requires_grad_(self.requires_grad)
        if self.grad is not None:
            _write(self.grad, self.grad_values)
        if t.grad is not self.grad:
            t.grad = self.grad


class _Kept:
    """Everything of a module that `undisturbed` puts back."""

    def __init__(self, module: nn.Module) -> None:
        self.tensors = list(_tensors(module))
        self._contents = [_Content.of(t) for t in self.tensors]
        self._attributes = [(m, dict(vars(m))) for m in module.modules()]
        self._containers = [
            (value, copy.copy(value))
            for m in module.modules()
            for value in vars(m).values()
            if isinstance(value, dict | list | set)
        ]

    def restore(self) -> None:
        for module, attributes in self._attributes:
            vars(module).clear()
            vars(module).update(attributes)
        for container, before in self._containers:
            container.clear()
            if isinstance(container, list):
                container.extend(before)
            else:
                container.update(before)
        with torch.no_grad():
            for content in self._contents:
                content.restore()


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers, and tensors in attributes or one level into a container, each once."""
    seen: set[int] = set()
    for m in module.modules():
        for value in vars(m).values():
            for t in _members(value):
                if isinstance(t, Tensor) and id(t) not in seen:
                    seen.add(id(t))
                    yield t


def _members(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple | set):
        yield from value
    else:
        yield value


def _values(t: Tensor) -> Tensor | None:
    return None if is_lazy(t) or t.is_meta else t.detach().clone()


def _write(t: Tensor, values: Tensor | None) -> None:
    if values is None or _same(t, values):
        return
    if t.shape == values.shape and t.dtype == values.dtype:
        t.copy_(values)
    else:  # as `module.double()` leaves it
        t.data = values


def _same(a: Tensor, b: Tensor) -> bool:
    if a.layout is not torch.strided or a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(a, b) or (
        a.is_floating_point() and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    )
