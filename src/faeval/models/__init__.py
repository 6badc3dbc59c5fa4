"""Networks under the staged contract: stem → blocks → head."""

from faeval.models.base import MODELS, Architecture
from faeval.models.resmlp import ResMLP
from faeval.models.staged import Staged

__all__ = ["MODELS", "Architecture", "ResMLP", "Staged"]
