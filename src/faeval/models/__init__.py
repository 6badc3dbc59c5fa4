"""Networks under the staged contract: stem → blocks → head."""

from faeval.models.base import MODELS, Architecture
from faeval.models.cnn import CNN
from faeval.models.lq import LQ, costates
from faeval.models.resmlp import ResMLP
from faeval.models.resnet import ResNet
from faeval.models.staged import Staged
from faeval.models.student import Student
from faeval.models.vit import ViTMini

__all__ = [
    "CNN",
    "LQ",
    "MODELS",
    "Architecture",
    "ResMLP",
    "ResNet",
    "Staged",
    "Student",
    "ViTMini",
    "costates",
]
