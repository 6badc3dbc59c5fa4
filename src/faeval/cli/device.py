"""Which device `--device` stands for."""

from faeval.core.errors import InputError, unknown


def resolve_device(name: str) -> str:
    """`cpu` or `cuda`; `auto` takes CUDA where it is present. InputError where it is not."""
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise unknown("device", name, ("auto", "cpu", "cuda"))
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("a CUDA device", "none that torch can see", "use --device cpu")
    return name
