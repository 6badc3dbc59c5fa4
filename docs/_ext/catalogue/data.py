"""A page for every registered data set."""

import inspect

from docstrings import inline, parse, rst

from catalogue.common import Page, code, heading, table
from faeval import DATA, Source
from faeval.data import HubImages

HUB = "https://huggingface.co/datasets/"


def pages() -> list[Page]:
    """One page per data set, in the order of their names."""
    return [
        Page(name, name, _sentence(source.description), _body(name, source))
        for name, source in DATA.items()
    ]


def _sentence(description: str) -> str:
    return description[:1].upper() + description[1:] + "."


def _body(name: str, source: Source) -> list[str]:
    images = getattr(source.load, "__self__", None)
    own_files = not any(word in source.description for word in ("embedded", "generated"))
    where = " --data-dir DIR" if own_files else ""
    return [
        *heading("What it is"),
        *rst(parse(inspect.getdoc(source.load) or "")),
        *(_images(images) if isinstance(images, HubImages) else []),
        *heading("Run it"),
        *code("sh", f"faeval audit --data {name}{where} --rules bp,dfa"),
        f"Models are {source.width} wide here unless the study says otherwise.",
        "",
        f"In Python: ``faeval.load({name!r}{', data_dir' if own_files else ''})``.",
        "",
    ]


def _images(images: HubImages) -> list[str]:
    crop = f"crops after {images.crop_padding} black pixels on every side"
    rows = [
        ["repository", f"`{images.repo} <{HUB}{images.repo}>`__, folder ``{images.config}``"],
        ["images", "×".join(map(str, images.shape))],
        ["classes", str(images.classes)],
        ["augmentation", inline(crop + (", mirrored at random" if images.flip else ""))],
    ]
    return table(["", ""], rows)
