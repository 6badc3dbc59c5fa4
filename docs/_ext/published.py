"""`{published-figures} STUDY`: published figures, written on the page as YAML, beside ours.

Ours come from the records in `studies/STUDY`, by method (`dfa λ=0.01`; `frozen blocks` for the
control of `dfa`). Where a study is not part of the docs, the published figures stand alone.
"""

from collections import defaultdict
from collections.abc import Callable
from math import fsum
from pathlib import Path

import yaml
from docutils import nodes
from examples import table
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from faeval import Interval, Method, TrialRecord
from faeval.stats import student_t

Figure = Callable[[TrialRecord], float | None]


def _accuracy(record: TrialRecord) -> float | None:
    return record.accuracy


def _deep_cosine(record: TrialRecord) -> float | None:
    deep = [r.cosine_mean for r in record.layers[1:]]
    known = [c for c in deep if c is not None]
    return fsum(known) / len(known) if known and len(known) == len(deep) else None


def _last_norm(record: TrialRecord) -> float | None:
    return record.layers[-1].state_norm if record.layers else None


FIGURES: dict[str, tuple[Figure, str]] = {
    "accuracy": (_accuracy, ".3f"),
    "deep cosine": (_deep_cosine, "+.3f"),
    "last state norm": (_last_norm, ".1e"),
}


class PublishedFigures(SphinxDirective):
    """A row for every published figure: ours, its interval over seeds, and whether it holds it."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The table."""
        folder = Path(self.env.srcdir) / "studies" / self.arguments[0]
        records = _by_method(folder)
        seeds = max((len(found) for found in records.values()), default=0)
        header = ["method", "figure", "published", "ours", "95 % over seeds", "published lies"]
        rows = [
            row
            for method, published in yaml.safe_load("\n".join(self.content)).items()
            for row in _rows(method, published, records.get(method, []))
        ]
        told = (
            f"Ours: {seeds} seeds, from the records in `docs/studies/{self.arguments[0]}`."
            if seeds
            else f"The records of `{self.arguments[0]}` are not part of these docs yet: the "
            "published figures stand alone."
        )
        return self.parse_text_to_nodes("\n".join([told, "", *table(header, rows)]))


def _by_method(folder: Path) -> dict[str, list[TrialRecord]]:
    """The completed records of each method, and of the control of dfa."""
    found: dict[str, list[TrialRecord]] = defaultdict(list)
    controls = []
    for path in sorted(folder.glob("trials/*/record.json")):
        record = TrialRecord.load(path)
        trial = record.trial
        if record.status != "completed" or trial.recipe.validation:
            continue
        if trial.trainable_blocks:
            found[Method(str(trial.rule["name"]), trial.penalty, ()).name].append(record)
        else:
            controls.append(record)
    # BP may have a learning rate of its own, and then its own controls.
    rates = {record.trial.recipe.learning_rate for record in found.get("dfa", ())}
    found["frozen blocks"] = [c for c in controls if c.trial.recipe.learning_rate in rates]
    return found


def _rows(method: str, published: dict[str, float], records: list[TrialRecord]) -> list[list[str]]:
    rows = []
    for name, value in published.items():
        figure, form = FIGURES[name]
        ours = [v for v in map(figure, records) if v is not None]
        interval = student_t(ours, population="seeds") if ours else None
        cells = ["–", "–", "–"] if interval is None else _ours(interval, value, form)
        rows.append([method, name, format(float(value), form), *cells])
    return rows


def _ours(interval: Interval, published: float, form: str) -> list[str]:
    estimate = format(interval.estimate, form)
    if interval.low is None or interval.high is None:
        return [estimate, "one seed", "–"]
    between = f"{interval.low:{form}} to {interval.high:{form}}"
    lies = (
        "below" if published < interval.low
        else "above" if published > interval.high
        else "inside"
    )  # fmt: skip
    return [estimate, between, lies]


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("published-figures", PublishedFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
