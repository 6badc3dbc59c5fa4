"""The contract of a credit rule, and its registry."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from faeval.core.registry import Registry
from faeval.core.trace import Trace
from faeval.models.staged import Staged

Feedback = dict[str, Tensor]
"""A rule's own tensors by name, saved with every checkpoint."""


@dataclass(frozen=True)
class Claims:
    """What a rule says of itself; the contract tests hold it to its word.

    gaussian_in_error  a_l = B_l e_T with i.i.d. Gaussian B_l: the closed-form null applies
    end_to_end         trained by backpropagation through the whole network: its trace is
                       run with graph, and its credit is the gradient itself
    uses_labels        the credit depends on the labels
    transports_weights the credit of a state depends on the weights downstream of it
                       other than through the error e_T
    granularity        `block`: exact transposes inside a block, the rule between blocks;
                       `layer`: the rule replaces every transpose; `none`: none replaced
    equals_bp          the limit in which the credit is the gradient, in words
    """

    end_to_end: bool
    uses_labels: bool
    transports_weights: bool
    granularity: Literal["none", "block", "layer"]
    equals_bp: str
    gaussian_in_error: bool = False


class Rule(ABC):
    """How credit reaches the states. Subclasses are frozen dataclasses in one file each;
    their fields are the options at the CLI and in YAML.

    Third parties register a subclass in the entry-point group `faeval.rules`.
    """

    claims: ClassVar[Claims]

    @abstractmethod
    def init(self, model: Staged, generator: torch.Generator) -> Feedback:
        """The feedback of a freshly initialised model, drawn from `generator` alone."""

    @abstractmethod
    def credit(self, trace: Trace, feedback: Feedback) -> list[Tensor]:
        """Credits a_0 … a_L for the states of `trace`, shaped like them: per sample,
        no 1/N, without graph. The trace is local unless the rule is end-to-end."""


RULES: Registry[type[Rule]] = Registry("rule")
