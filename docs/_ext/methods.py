"""`{methods} STUDY`: the methods of a study that is part of these docs, best accuracy first.

Read from the files of its report, so that page and report say the same.
"""

from collections.abc import Sequence

from docutils import nodes
from examples import Example, examples_of, number, table
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HEADER = ["method", "accuracy", "95 % over seeds", "gain", "cosine from h0 on", "null", "growth",
          "verdict", "because of"]  # fmt: skip
SPACE = "\N{NO-BREAK SPACE}"


class Methods(SphinxDirective):
    """One row for each method."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table. Raises the directive's error where no such study is part of the docs."""
        name = self.arguments[0]
        studies = {example.name: example for example in examples_of(self.env.app)}
        if name not in studies:
            raise self.error(f"a study in docs/studies, one of {sorted(studies)}; got {name!r}")
        made = self.parse_text_to_nodes("\n".join(table(HEADER, _rows(studies[name]))))
        for node in made:
            node["classes"].append("compact")  # type: ignore[index]
        return made


def _rows(example: Example) -> list[list[str]]:
    states = example.rows("states.csv")
    growth = {
        row["method"]: row["value"]
        for row in example.rows("findings.csv")
        if row["check"] == "scale stability"
    }
    methods = sorted(
        example.rows("methods.csv"), key=lambda row: float(row["accuracy"] or 0), reverse=True
    )
    return [
        [
            f"`{row['method']}`",
            number(row["accuracy"], ".3f"),
            _between(row),
            number(row["gain"] and str(100 * float(row["gain"])), "+.1f") + f"{SPACE}pp",
            *_cosines([s for s in states if s["method"] == row["method"] and s["state"] != "mean"]),
            number(growth[row["method"]], ",.3g"),
            row["verdict"],
            row["because_of"],
        ]
        for row in methods
    ]


def _between(row: dict[str, str]) -> str:
    low, high = (number(row[f"accuracy_{end}"], ".3f") for end in ("low", "high"))
    return f"{low}{SPACE}to{SPACE}{high}" if "–" not in (low, high) else "one seed"


def _cosines(states: Sequence[dict[str, str]]) -> list[str]:
    nulls = [float(s["null"]) for s in states if s["null"]]
    spread = f"±{max(nulls):.3f}" if nulls else "none"
    return [SPACE.join(number(s["cosine"], "+.2f") for s in states), spread]


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("methods", Methods)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
