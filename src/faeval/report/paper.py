"""What a paper takes from a study: tables, and the reporting template, filled. Pure."""

from collections.abc import Iterable

from faeval.core.reading import Reading
from faeval.report import bibliography
from faeval.report.material import Material, Member, slug
from faeval.report.provenance import options, provenance, recipe
from faeval.report.tables import (
    Table,
    control_table,
    finding_table,
    latex_text,
    method_table,
    onset_table,
    rate_table,
    state_table,
    to_csv,
)
from faeval.report.view import changes, method_rows, state_rows
from faeval.report.wording import seeds, signed
from faeval.verdict.method import layers_of

_STATE_FIELDS = ("spread", "null", "clamped", "reference_norm", "credit_norm", "state_norm",
                 "reference_error", "fresh", "update_cosine", "update_error")  # fmt: skip


def tables(material: Material) -> dict[str, Table]:
    """The tables of a study by label: the methods, the states of each and their controls, and what
    a tuned study and the readings in training add."""
    level = material.thresholds.level
    found = {"methods": method_table(method_rows(material.judgement, level), level)}
    for member in material.members:
        rows = state_rows(member.method, level)
        if rows:
            title = f"{member.name}, {seeds(member.method)}"
            found[f"states-{member.slug}"] = state_table(title, rows, level)
            if controls := control_table(title, rows):
                found[f"controls-{member.slug}"] = controls
    for curve in material.curves:
        found[f"rates-{slug(curve.name)}"] = rate_table(curve, level)
    for member in material.members:
        if onsets := material.onsets.get(member.name):
            found[f"onsets-{member.slug}"] = onset_table(member.name, onsets)
    return found


def tables_markdown(material: Material) -> str:
    """All tables, what the penalties changed, and what the study as a whole says, as Markdown."""
    parts = [table.markdown() for table in tables(material).values()]
    parts += [
        "\n".join([f"**{change.headline}**", "", *(f"- {line}" for line in change.lines)])
        for change in changes(material.judgement.contrasts)
    ]
    parts += [f"{f.sentence}" for f in material.conclusions]
    return "\n\n".join([f"# {material.title}", *_gap(material), *parts]) + "\n"


def tables_latex(material: Material) -> str:
    """All tables with booktabs rules; `\\usepackage{booktabs}` and `\\input{tables}`."""
    head = f"% {material.title}\n% \\usepackage{{booktabs}}\n"
    parts = [t.latex(label) for label, t in tables(material).items()]
    # Set, not only commented: a table whose seeds are incomplete says so in print.
    gap = [rf"\noindent\textbf{{{latex_text(text)}}}" for text in _gap(material, bold="")]
    return head + "\n\n".join([*gap, *parts]) + "\n"


def csv_files(material: Material) -> dict[str, str]:
    """The same numbers at full precision: one line per method, per state and per check, the checks
    on the study as a whole last."""
    level = material.thresholds.level
    three = ("accuracy", "control", "gain")
    methods = to_csv(
        ("method", "seeds", "completed", "score",
         *(f"{name}{end}" for name in three for end in ("", "_low", "_high")),
         "level", "verdict", "because_of"),
        (
            (m.name, len(m.method.runs), len(m.method.completed), row.score,
             *(x for i in (row.accuracy, row.control, row.gain)
               for x in ((i.estimate, i.low, i.high) if i else (None, None, None))),
             level, row.verdict, "; ".join(row.reasons))
            for m, row in zip(material.members, method_rows(material.judgement, level), strict=True)
        ),
    )  # fmt: skip
    states = to_csv(
        ("method", "state", "cosine", "cosine_low", "cosine_high", *_STATE_FIELDS, "undefined"),
        (
            (m.name, row.state,
             *((row.cosine.estimate, row.cosine.low, row.cosine.high) if row.cosine
               else (None, None, None)),
             *(getattr(row, name) for name in _STATE_FIELDS), row.undefined)
            for m in material.members for row in state_rows(m.method, level)
        ),
    )  # fmt: skip
    findings = to_csv(
        ("about", "method", "check", "status", "severity", "value", "threshold", "evidence",
         "consequence"),
        (
            (about, f.method, f.check, f.status, f.severity, f.value, f.threshold, f.evidence,
             f.consequence)
            for about, found in (("method", material.judgement.findings),
                                 ("study", material.conclusions))
            for f in found
        ),
    )  # fmt: skip
    return {"methods.csv": methods, "states.csv": states, "findings.csv": findings}


def references(material: Material) -> str:
    """A BibTeX file for the rules of the study."""
    return bibliography.bibtex(material.rules)


def appendix(material: Material) -> str:
    """The reporting template, filled, as Markdown: what a reader needs to judge the numbers."""
    title = f"# How these results were obtained: {material.title}"
    parts = [title, *_gap(material), _setting(material)]
    parts += [_method(material, member) for member in material.members]
    parts.append("## Pitfalls\n\n" + "\n".join(_pitfalls(material)))
    return "\n\n".join(parts) + "\n"


def _gap(material: Material, bold: str = "**") -> list[str]:
    return [] if material.gap is None else [f"{bold}Incomplete: {material.gap}.{bold}"]


def _setting(material: Material) -> str:
    known = dict(provenance(material))
    models = [r.trial.model for m in material.members for r in m.records]
    norms = sorted({_terminal_norm(model) for model in models})
    lines = [
        ("architecture", known["model"]),
        ("terminal LayerNorm", ", ".join(norms)),
        *((term, known[term]) for term in ("data", "labels", "seeds", "aggregation", "device",
                                           "processor", "versions", "thresholds", "commands")),
    ]  # fmt: skip
    return "## Setting\n\n" + "\n".join(f"- {term}: {text}" for term, text in lines)


def _method(material: Material, member: Member) -> str:
    trial = member.records[0].trial
    facts = material.rules[str(trial.rule["name"])]
    cited = bibliography.keys(str(trial.rule["name"]))
    source = ", ".join(f"[@{key}]" for key in cited or ()) or (
        "none known" if cited is None else "a control of faeval")  # fmt: skip
    inside = {
        "block": "exact transposes inside a block, the rule between blocks",
        "layer": "the rule replaces every transpose, inside blocks too",
        "none": "no transpose is replaced",
    }.get(facts.granularity, facts.granularity)
    read = "that which trained" if trial.reading_feedback == "trained" else "a fresh draw"
    lines = [
        f"- method: {member.name} ({options(trial.rule)}), source: {source}",
        f"- signal: {facts.formula}",
        f"- granularity: {facts.granularity} ({inside})",
        "- provenance of the feedback: "
        + (
            f"{facts.feedback}; what is read is {read}, saved with each checkpoint"
            if facts.feedback != "none"
            else "the rule has none"
        ),
        f"- forward weights that the backward pass reads: {facts.transports}",
        f"- training: {recipe(trial)}; penalty on block outputs {trial.penalty:g}",
        f"- runs: {seeds(member.method)}",
        f"- verdict: {member.verdict.verdict}"
        + (f", because of {', '.join(member.verdict.reasons)}" if member.verdict.reasons else ""),
    ]
    checks = finding_table(f"Checks on {member.name}", material.judgement.findings_on(member.name))
    return f"## {member.name}\n\n" + "\n".join(lines) + f"\n\n{checks.markdown()}"


def _terminal_norm(model: dict[str, object]) -> str:
    known = model.get("terminal_norm")
    return "not an option of this model" if known is None else "yes" if known else "no"


def _pitfalls(material: Material) -> list[str]:
    """Those that the authors of the protocol met, each with the evidence of this study."""
    readings = [
        r for m in material.members if not m.method.credit_is_gradient
        for _, r in layers_of(m.method)
    ] or [r for m in material.members for _, r in layers_of(m.method)]  # fmt: skip
    return [
        _norms(readings),
        _clamp(readings),
        _halves(readings),
        _feedback(material),
        _means(material),
        _batch(readings),
    ]


def _line(avoided: bool | None, pitfall: str, evidence: str) -> str:
    mark = "[x]" if avoided else "[ ]"
    return f"- {mark} {pitfall}: {evidence}"


def _norms(readings: Iterable[Reading]) -> str:
    ends = [q for r in readings if r.cosine_quantiles for q in r.cosine_quantiles]
    what = "norms are L2 over all elements of a sample (not `t.norm(-1)`)"
    if not ends:
        return _line(None, what, "no cosine was read")
    inside = max(map(abs, ends)) <= 1 + 1e-9
    return _line(inside, what, f"cosines over images lie in {min(ends):+.3f} to {max(ends):+.3f}; "
                               "with another norm they would leave −1 to 1")  # fmt: skip


def _clamp(readings: Iterable[Reading]) -> str:
    gaps = [
        (abs(r.cosine_mean - r.cosine_clamped), r)
        for r in readings
        if r.cosine_mean is not None and r.cosine_clamped is not None
    ]
    what = "cosines are not clamped at eps = 1e-8"
    if not gaps:
        return _line(None, what, "no cosine was read")
    gap, r = max(gaps, key=lambda pair: pair[0])
    return _line(True, what, f"largest difference {gap:.2g}, at h{r.state}: "
                             f"{signed(r.cosine_mean)} here, {signed(r.cosine_clamped)} by "
                             "F.cosine_similarity on mean-loss gradients")  # fmt: skip


def _halves(readings: Iterable[Reading]) -> str:
    what = "gradients do not underflow in half precision"
    all_ = list(readings)
    working = {r.precisions[0].dtype for r in all_ if r.precisions}
    lost = [p.samples_lost for r in all_ for p in r.precisions if p.dtype in working]
    halves = [p for r in all_ for p in r.precisions[1:]]
    if not lost:
        return _line(None, what, "no precision was recorded")
    told = f"read in {', '.join(sorted(working))}, {sum(lost)} samples lost"
    worst = max(halves, key=lambda p: p.samples_lost, default=None)
    if worst is not None and worst.samples_lost:
        told += (f"; {worst.dtype} without loss scaling would have lost up to "
                 f"{worst.samples_lost} of {worst.samples}")  # fmt: skip
    return _line(sum(lost) == 0 and not working & {"float16", "bfloat16"}, what, told)


def _feedback(material: Material) -> str:
    what = "the feedback is the one trained with, saved and not drawn again from a seed"
    read = {r.trial.reading_feedback for m in material.members for r in m.records}
    same = [
        f.evidence for f in material.judgement.findings
        if f.check == "independent credit" and f.status == "flag"
    ]  # fmt: skip
    told = "read from the checkpoints of training" if read == {"trained"} else (
        "some trials were read with a fresh draw, on purpose")  # fmt: skip
    told += f"; {'; '.join(same)}" if same else "; no credit equals its reference by accident"
    return _line(read == {"trained"} and not same, what, told)


def _means(material: Material) -> str:
    flags = [
        f"{f.method}: {f.evidence}" for f in material.judgement.findings
        if f.check == "layer mean" and f.status == "flag"
    ]  # fmt: skip
    what = "no layer mean stands for the layers"
    told = "every state is listed" + (f"; {'; '.join(flags)}" if flags else
                                      "; no state carries a mean")  # fmt: skip
    return _line(True, what, told)


def _batch(readings: Iterable[Reading]) -> str:
    known = [r for r in readings if r.reference_norm and r.reference_norm_mean_loss]
    what = "gradient norms do not depend on the batch (sum-reduced loss, per sample)"
    if not known:
        return _line(None, what, "no gradient norm was read")
    r = min(known, key=lambda r: r.reference_norm or 0.0)
    return _line(True, what, f"smallest ‖g‖ {r.reference_norm:.1e} per sample (h{r.state}); a mean "
                             f"loss over {r.samples} samples would show "
                             f"{r.reference_norm_mean_loss:.1e}")  # fmt: skip
