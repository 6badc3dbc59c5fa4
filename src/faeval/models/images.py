"""What the architectures for images ask of their input."""

from faeval.core.errors import InputError


def image_shape(input_shape: tuple[int, ...], model: str, divisor: int = 1) -> tuple[int, int, int]:
    """(C, H, W) where `input_shape` is that of images whose sides are multiples of `divisor`;
    InputError otherwise."""
    if len(input_shape) != 3:
        raise InputError(
            f"images (C, H, W) for the model {model!r}",
            f"samples of shape {input_shape}",
            "choose a data set of images, or the model resmlp",
        )
    channels, height, width = input_shape
    if height % divisor or width % divisor:
        raise InputError(
            f"images whose sides are multiples of {divisor} for this {model!r}",
            f"{height}×{width} pixels",
            "change the model's options so that they divide the sides",
        )
    return channels, height, width
