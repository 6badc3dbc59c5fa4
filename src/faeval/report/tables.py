"""Tables of a study as text cells, and the same cells in Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from faeval.core.score import either
from faeval.core.trial import shortest
from faeval.report.view import MethodRow, StateRow
from faeval.report.wording import (
    NONE,
    accuracy,
    chance,
    extent,
    gain,
    gain_extent,
    limit,
    magnitude,
    signed,
    spread,
    value,
)
from faeval.verdict.finding import Finding, percent
from faeval.verdict.onset import Onset
from faeval.verdict.rates import RateCurve

TEXT = ("state", "method", "verdict", "because of", "check", "status", "evidence", "consequence",
        "learning rate", "chosen for")  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Cells under headings, all text; whatever is not in TEXT is a column of numbers."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def without(self, heading: str) -> "Table":
        """The same table, less one column."""
        gone = self.headings.index(heading)

        def left(cells: tuple[str, ...]) -> tuple[str, ...]:
            return cells[:gone] + cells[gone + 1 :]

        return replace(
            self, headings=left(self.headings), rows=tuple(left(row) for row in self.rows)
        )

    def markdown(self) -> str:
        """A pipe table below its title."""
        rule = [":--" if h in TEXT else "--:" for h in self.headings]
        lines = [self.headings, rule, *self.rows]
        return f"**{self.title}**\n\n" + "\n".join(
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
        )

    def latex(self, label: str) -> str:
        """A booktabs table to `\\input`; needs the package `booktabs`."""
        columns = "".join("l" if h in TEXT else "r" for h in self.headings)
        lines = [" & ".join(map(latex_text, line)) + r" \\" for line in (self.headings, *self.rows)]
        return "\n".join([
            r"\begin{table}",
            r"  \centering\small",
            rf"  \caption{{{latex_text(self.title)}}}",
            rf"  \label{{tab:{label}}}",
            rf"  \begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"    \toprule",
            f"    {lines[0]}",
            r"    \midrule",
            *(f"    {line}" for line in lines[1:]),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ])  # fmt: skip


def method_table(rows: Sequence[MethodRow], level: float) -> Table:
    """A line per method: accuracy, its control, what depth gains, and the verdict."""
    interval = f"{percent(level)} seeds"
    return Table(
        "Methods",
        ("method", either(row.score for row in rows), interval, "frozen blocks", "gain",
         GAIN_INTERVAL, "verdict", "because of"),
        tuple(
            (
                row.name,
                accuracy(row.accuracy),
                extent(row.accuracy, signed=False),
                accuracy(row.control),
                gain(row.gain, row.score),
                gain_extent(row.gain, row.score),
                row.verdict,
                ", ".join(row.reasons),
            )
            for row in rows
        ),
    )  # fmt: skip


GAIN_INTERVAL = "gain, paired"


def state_table(title: str, rows: Sequence[StateRow], level: float) -> Table:
    """A line per state, like the published tables, and the layer mean."""
    return Table(
        title,
        ("state", "cosine", f"{percent(level)} seeds", "images", "null", "clamped", "‖g‖", "‖a‖",
         "‖h‖", "error", "undef"),
        tuple(
            (
                row.state,
                signed(row.cosine.estimate if row.cosine else None),
                extent(row.cosine),
                spread(row.spread, 2),
                chance(row.null_mean, row.null),
                signed(row.clamped),
                magnitude(row.reference_norm),
                magnitude(row.credit_norm),
                magnitude(row.state_norm),
                magnitude(row.reference_error),
                str(row.undefined) if row.state != "mean" else "",
            )
            for row in rows
        ),
    )  # fmt: skip


def control_table(title: str, rows: Sequence[StateRow]) -> Table | None:
    """A line per state with what the readings are held against; None where nothing was taken."""
    states = [row for row in rows if row.state != "mean"]
    if all(row.fresh is None and row.update_error is None for row in states):
        return None
    return Table(
        f"{title}: controls",
        ("state", "cosine", "one fresh draw", "null", "update cosine", "update error"),
        tuple(
            (
                row.state,
                signed(row.cosine.estimate if row.cosine else None),
                signed(row.fresh),
                chance(row.null_mean, row.null),
                signed(row.update_cosine),
                magnitude(row.update_error),
            )
            for row in states
        ),
    )


def onset_table(name: str, onsets: Sequence[Onset]) -> Table:
    """A line per check: the epoch at which it first flags, in each seed."""
    seeds = list(dict.fromkeys(o.seed for o in onsets))
    at = {(o.check, o.seed): o for o in onsets}
    last = ", ".join(dict.fromkeys(str(o.last) for o in onsets))
    return Table(
        f"{name}: epoch of the first flag, read until epoch {last}",
        ("check", *(f"seed {seed}" for seed in seeds)),
        tuple(
            (check, *(_epoch(at.get((check, seed))) for seed in seeds))
            for check in dict.fromkeys(o.check for o in onsets)
        ),
    )


def _epoch(onset: Onset | None) -> str:
    return NONE if onset is None else "never" if onset.epoch is None else str(onset.epoch)


def rate_table(curve: RateCurve, level: float) -> Table:
    """A line per learning rate: accuracy on validation data with trained and with frozen blocks,
    means over the seeds that completed, and which rate was chosen for each."""
    gains = dict(curve.gains(level))
    rows = []
    for rate, own, control in zip(curve.rates, curve.accuracies, curve.controls, strict=True):
        best = {"trained": rate == curve.best, "frozen": rate == curve.best_control}
        over = gains.get(rate)
        rows.append(
            (
                shortest(rate),
                *(NONE if not by_seed else f"{sum(by_seed.values()) / len(by_seed):.3f}"
                  for by_seed in (own, control)),
                gain(over, curve.score),
                gain_extent(over, curve.score),
                " and ".join(name for name, is_best in best.items() if is_best),
            )
        )  # fmt: skip
    return Table(
        f"{curve.name}: learning rates, on validation data",
        ("learning rate", curve.score, "frozen blocks", "gain", GAIN_INTERVAL, "chosen for"),
        tuple(rows),
    )


def finding_table(title: str, findings: Iterable[Finding]) -> Table:
    """Every check on a method with its value, its threshold and its status."""
    return Table(
        title,
        ("check", "value", "threshold", "status", "evidence", "consequence"),
        tuple(
            (
                f.check,
                value(f.value),
                limit(f.threshold),
                f.status if f.severity != "note" else f"{f.status} (note)",
                f.evidence,
                f.consequence,
            )
            for f in findings
        ),
    )


def to_csv(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Numbers at full precision, nothing where there is none: for machines."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return text.getvalue()


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "‖": r"$\Vert$", "λ": r"$\lambda$", "±": r"$\pm$", "×": r"$\times$", "−": "$-$",
    "→": r"$\to$", "ρ": r"$\rho$", "–": "--", "ε": r"$\varepsilon$", "·": r"$\cdot$",
    "²": r"$^2$", "≥": r"$\ge$", "≤": r"$\le$", "∂": r"$\partial$", "ℓ": r"$\ell$",
    "∈": r"$\in$", "…": r"\dots{}", "Σ": r"$\Sigma$", "σ": r"$\sigma$", "∇": r"$\nabla$",
    "η": r"$\eta$", "β": r"$\beta$", "⟨": r"$\langle$", "⟩": r"$\rangle$", "δ": r"$\delta$",
    "ᵀ": r"$^\top$", "★": r"$\star$",
}  # fmt: skip
_MINUS = re.compile(r"(?<![\w.])-(?=\d)")


def latex_text(text: str) -> str:
    """`text` so that LaTeX sets it as it stands."""
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return _MINUS.sub("$-$", escaped)
