"""A page per rule, check, model and data set, written from the registries before a build.

The pages lie in `reference/`, which git does not hold. A rule, model or data set of another
package that is installed beside faeval has its page as those of faeval have.
"""

from pathlib import Path

from docstrings import PAGES, inline
from examples import examples_of
from sphinx.application import Sphinx

from catalogue import checks, data, models, rules
from catalogue.common import Page, heading, table
from faeval import RULES

KINDS = {
    "rules": ("Rules", "How credit reaches the states."),
    "checks": ("Checks", "What every method is asked, in this order. The worst is its verdict."),
    "models": ("Models", "Networks as stem, blocks and head."),
    "data": ("Data sets", "Embedded, generated, from the hub's parquet files, or your own."),
}


def write(app: Sphinx) -> None:
    """Write what has changed, and take away what is no longer there."""
    folder = Path(app.srcdir) / "reference"
    PAGES.update({name: f"/reference/rules/{name}" for name in RULES})
    made = {
        "rules": rules.pages(),
        "checks": checks.pages(examples_of(app)),
        "models": models.pages(),
        "data": data.pages(),
    }
    texts = {folder / f"{kind}.rst": _index(kind, pages) for kind, pages in made.items()}
    for kind, pages in made.items():
        texts |= {folder / kind / f"{page.slug}.rst": page.text for page in pages}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in set(folder.rglob("*.rst")) - texts.keys():
        path.unlink()


def _index(kind: str, pages: list[Page]) -> str:
    title, about = KINDS[kind]
    rows = [[f":doc:`{p.title} <{kind}/{p.slug}>`", inline(p.summary)] for p in pages]
    tree = [".. toctree::", "   :hidden:", "", *(f"   {kind}/{page.slug}" for page in pages), ""]
    return "\n".join([*heading(title, "="), about, "", *table(["name", ""], rows), *tree])


def setup(app: Sphinx) -> dict[str, bool]:
    """Join the build, after the examples."""
    app.connect("builder-inited", write, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
