"""The contract of a model's configuration, and its registry."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from faeval.core.registry import Registry
from faeval.models.staged import Staged


@dataclass(frozen=True)
class Architecture(ABC):
    """A model's configuration; its fields are the options at the CLI and in YAML.

    Third parties register a subclass in the entry-point group `faeval.models`.
    """

    depth: int

    @abstractmethod
    def build(
        self, input_shape: tuple[int, ...], classes: int, generator: torch.Generator
    ) -> Staged:
        """A freshly initialised network; every random weight comes from `generator`."""


MODELS: Registry[type[Architecture]] = Registry("model")
