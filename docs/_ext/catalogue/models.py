"""A page for every registered model."""

import inspect
import sys

import torch
from docstrings import parse, rst
from torch import nn

from catalogue.common import Page, code, equation, heading, options, summary, yaml_of
from faeval import MODELS, Architecture, InputError, Staged

# What a model may be built for: a data set, the shape of its inputs, its classes or targets.
TRIED = (("digit-sums", (128,), 10), ("cifar10", (3, 32, 32), 10), ("linear-quadratic", (32,), 32))


def pages() -> list[Page]:
    """One page per model, in the order of their names."""
    return [
        Page(name, name, summary(cls, alone=True), _body(name, cls)) for name, cls in MODELS.items()
    ]


def _body(name: str, cls: type[Architecture]) -> list[str]:
    return [
        *heading("Equation"),
        *equation(cls),
        *_parts(cls),
        *heading("Options"),
        *options(cls),
        *_built(name, cls),
        f"In Python: ``faeval.MODELS[{name!r}]()``, the class ``{cls.__name__}``.",
        "",
    ]


def _parts(cls: type[Architecture]) -> list[str]:
    """The modules that the file of the model defines, with their equations."""
    module = sys.modules[cls.__module__]
    lines: list[str] = []
    for part in vars(module).values():
        own = inspect.isclass(part) and part.__module__ == module.__name__
        if own and issubclass(part, nn.Module) and not issubclass(part, Staged):
            lines += [f".. rubric:: ``{part.__name__}``", ""]
            lines += rst(parse(inspect.getdoc(part) or ""), equation=True)
    return lines


def _built(name: str, cls: type[Architecture]) -> list[str]:
    """Its size on the first data set that it takes, and how to run it there."""
    for data, shape, classes in TRIED:
        try:
            network = cls().build(shape, classes, torch.Generator().manual_seed(0))  # pyright: ignore[reportCallIssue]
        except InputError:
            continue
        parameters = sum(p.numel() for p in network.parameters())
        states = ", ".join("×".join(map(str, s)) for s in network.state_shapes)
        where = " --data-dir DIR" if data == "cifar10" else ""
        return [
            *heading("Size"),
            f"With its defaults, on inputs of {'×'.join(map(str, shape))} and {classes} outputs: "
            f"{parameters:,} parameters. States of one sample: {states}.",
            "",
            *heading("Run it"),
            "A model is chosen in a study file, ``study.yaml``:",
            "",
            *code("yaml", f"data: {data}\nmodel: {yaml_of(name, cls)}\nrules: [bp, dfa]"),
            *code("sh", f"faeval audit study.yaml{where}"),
        ]
    return []
