"""The contract of a credit rule, and its registry."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from math import isfinite
from typing import Literal, get_args

import torch
from torch import Tensor

from faeval.core.errors import InputError
from faeval.core.reading import Diagnostic
from faeval.core.registry import Registry
from faeval.core.trace import Trace
from faeval.models.staged import Staged

Feedback = dict[str, Tensor]
"""A rule's own tensors by name, saved with every checkpoint."""


@dataclass(frozen=True)
class Claims:
    """What a rule says of itself; the contract tests hold it to its word.

    uses_labels         the credit depends on the labels
    transports_weights  what the backward pass reads of the forward weights: `nothing`,
                        those of the `head` alone, their `signs`, or `all` of them
    granularity         `block`: exact transposes inside a block, the rule between blocks;
                        `layer`: the rule replaces every transpose; `none`: none replaced
    equals_bp           the limit in which the credit is the gradient, in words
    end_to_end          taught by one backward pass through the whole network: its trace is
                        run with graph, and what the pass meets at a state is its credit
    exact               the credit is the gradient itself
    feedback            `none`, `fixed` from the start, `learned` in training, or `redrawn` for
                        every batch
    gaussian_in         `error` or `target`: a_l = B_l e_T or B_l y with i.i.d. Gaussian B_l, so
                        that the closed-form null applies
    direct              every state's credit comes straight from the output: none is made from that
                        of another state
    teaches             `all` stages, or the `head` alone: stem and blocks stay as they are

    Raises InputError for a value that is none of these.
    """

    uses_labels: bool
    transports_weights: Literal["nothing", "head", "signs", "all"]
    granularity: Literal["none", "block", "layer"]
    equals_bp: str
    end_to_end: bool = False
    exact: bool = False
    feedback: Literal["none", "fixed", "learned", "redrawn"] = "fixed"
    gaussian_in: Literal["error", "target"] | None = None
    direct: bool = False
    teaches: Literal["all", "head"] = "all"

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            if not any(value is a if isinstance(a, bool) else value == a for a in allowed):
                listed = [f"{a}" if isinstance(a, bool | None) else f"'{a}'" for a in allowed]
                raise InputError(
                    f"a claim {name} that is one of {', '.join(listed)}",
                    repr(value),
                    "correct the claims of this rule",
                )


def _values(kind: object) -> tuple[str | bool | None, ...]:
    """All that a field of this type may hold; nothing for one that holds any text."""
    if kind in (bool, type(None)):
        return (True, False) if kind is bool else (None,)
    return tuple(
        value
        for part in get_args(kind)
        for value in ((part,) if isinstance(part, str) else _values(part))
    )


# Made once: claims are asked for at every step of training.
_ALLOWED = {field.name: some for field in fields(Claims) if (some := _values(field.type))}


class Rule(ABC):
    """How credit reaches the states. Subclasses are frozen dataclasses in one file each;
    their fields, all with defaults, are the options at the CLI and in YAML.

    Third parties register a subclass in the entry-point group `faeval.rules`.
    """

    @property
    @abstractmethod
    def claims(self) -> Claims:
        """What this configuration of the rule says of itself."""

    @abstractmethod
    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        """The feedback of a freshly initialised model, drawn from `generator` alone (CPU).

        Raises InputError for a model on which the rule makes no sense: it is asked before
        anything is trained.
        """

    def fresh(self, model: Staged, generator: torch.Generator) -> Feedback:
        """Feedback that a trained model has never met, for the null: another draw of `init`.
        A rule whose backward pass reads the weights undoes that here, or its null would know
        them too."""
        return self.init(model, generator)

    def run(self, model: Staged, feedback: Feedback, x: Tensor, y: Tensor) -> Trace:
        """One forward pass in the form that this rule learns from."""
        return model.run(x, y, local=not self.claims.end_to_end)

    @abstractmethod
    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        """Credits a_0 … a_L for the states of a trace of `run`, shaped like them: per sample,
        no 1/N, without graph. Leaves the trace's graph intact, the feedback as it was, and
        `.grad` alone."""

    def update(  # noqa: B027 — most feedback is fixed
        self,
        model: Staged,
        trace: Trace,
        feedback: Feedback,
        *,
        learning_rate: float,
        weight_decay: float,
        generator: torch.Generator,
    ) -> None:
        """Learned or redrawn feedback: change the tensors of `feedback` in place after a batch.

        Called once per step, when every trainable parameter holds in `.grad` what the batch
        taught it and before the optimiser moves it. `learning_rate` and `weight_decay` are
        those of this step; noise comes from `generator` (CPU). By default nothing changes.
        """

    def diagnostics(self, model: Staged, trace: Trace, feedback: Feedback) -> list[Diagnostic]:
        """What a rule can say of its own working on a trace of `run`: a residual, the error of a
        predictor, how far learned feedback agrees with the weights. By default nothing. No credit
        depends on it, so it may read what `claims` forbids the backward pass."""
        return []


def diagnostic(name: str, value: float, limit: float | None = None) -> Diagnostic:
    """One entry of `Rule.diagnostics`; a value that is not finite is written as None."""
    return Diagnostic(name, value if isfinite(value) else None, limit)


def backward_credit(trace: Trace) -> list[Tensor]:
    """What the backward pass of an end-to-end rule meets at each state: ∂ℓ_n/∂h_l, by the
    transposes with which the trace was run."""
    return list(torch.autograd.grad(trace.loss.sum(), trace.states, retain_graph=True))


def terminal_gradient(trace: Trace) -> Tensor:
    """g_L = ∂ℓ_n/∂h_L, (N, …): the exact vector–Jacobian product of the head with e_T."""
    with torch.enable_grad():
        h = trace.states[-1].detach().requires_grad_()
        return torch.autograd.grad(trace.maps[-1](h), h, trace.error)[0]


RULES: Registry[type[Rule]] = Registry("rule")
