"""Figures of one method over its training: states, credit, and where flags first fire."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from faeval.core.reading import Reading
from faeval.records.schema import Epoch
from faeval.report.figure import (
    Figure,
    Row,
    Spec,
    alike,
    logarithmic,
    rounded,
    scales,
    tooltip,
    visible,
)
from faeval.report.material import Member
from faeval.report.wording import chance, magnitude, signed
from faeval.verdict.method import Thresholds
from faeval.verdict.onset import Course, onsets

TICKS = 8  # at most, on the axis of epochs


def time_figure(member: Member, thresholds: Thresholds) -> Figure | None:
    """‖h‖ of every state over training, and the first epoch whose growth would be flagged."""
    values: list[Row] = []
    flags: list[Row] = []
    cells = []
    for record in member.records:
        seed = str(record.trial.seed)
        first = first_growth(record.history, thresholds.growth)
        if first is not None:
            flags.append({"epoch": first, "seed": seed, "flag": "scale stability"})
        for epoch in record.history:
            values += [
                {"epoch": epoch.epoch, "state": f"h{l}", "seed": seed, "value": rounded(norm),
                 "shown": magnitude(norm)}
                for l, norm in enumerate(epoch.state_norms)
                if 0 < norm < float("inf")
            ]  # fmt: skip
        if record.history:
            ends = [record.history[0], record.history[-1]]
            norms = (magnitude(e.state_norms[-1]) for e in ends)
            cells.append((seed, *norms, f"epoch {first}" if first is not None else "never"))
    if len({v["epoch"] for v in values}) < 2:
        return None
    limit = f"{thresholds.growth:g}"
    flagged = ", ".join(f"epoch {f['epoch']} (seed {f['seed']})" for f in flags)
    told = (
        f"a block first grows ‖h‖ by more than {limit}× at {flagged}"
        if flags
        else f"no block grows ‖h‖ by more than {limit}× at any epoch"
    )
    extremes = "; ".join(f"seed {c[0]} from {c[1]} to {c[2]}" for c in cells)
    y = logarithmic([v["value"] for v in values], "‖h‖ of the last batch")
    return _figure(
        f"time-{member.slug}",
        f"{member.name}: states over training",
        f"One line per state and seed, the darker the deeper. In this run {told}"
        + (" (dashed upright)." if flags else "."),
        ("state", "‖h‖", y),
        values,
        flags,
        f"‖h‖ at the last state of {member.name} over training: {extremes}; {told}.",
        ("seed", "‖h‖ at the last state, first epoch", "last epoch", "first flag"),
        cells,
    )


def credit_figure(
    member: Member, courses: Mapping[str, Course], thresholds: Thresholds
) -> Figure | None:
    """Cosine of every state at the epochs that were read, and where each check first flags."""
    read = {r.trial.seed: courses[r.trial.id] for r in member.records if r.trial.id in courses}
    if member.method.credit_is_gradient or not read:
        return None
    values = [
        {"epoch": epoch, "state": f"h{r.state}", "seed": str(seed),
         "value": rounded(r.cosine_mean), "shown": signed(r.cosine_mean), "null": _null(r)}
        for seed, course in read.items()
        for epoch, layers in course
        for r in layers
        if r.cosine_mean is not None
    ]  # fmt: skip
    if len({v["epoch"] for v in values}) < 2:
        return None
    found = [o for o in onsets(member.method, read, thresholds) if o.check != "published floor"]
    fired: dict[tuple[int, int], list[str]] = {}
    for onset in found:
        if onset.epoch is not None:
            fired.setdefault((onset.epoch, onset.seed), []).append(onset.check)
    flags = [{"epoch": epoch, "seed": str(seed), "flag": ", ".join(checks)}
             for (epoch, seed), checks in sorted(fired.items())]  # fmt: skip
    told = "; ".join(f"epoch {f['epoch']}, seed {f['seed']}: {f['flag']}" for f in flags)
    ends = [v for v in values if v["epoch"] == max(v["epoch"] for v in values)]
    last = ", ".join(f"{v['state']} {v['shown']} (seed {v['seed']})" for v in ends)
    span = [min(0.0, *(v["value"] for v in values)), max(v["value"] for v in values)]
    y = {"type": "quantitative", "title": "cosine with the true gradient",
         "scale": {"domain": span, "nice": True}}  # fmt: skip
    return _figure(
        f"course-{member.slug}",
        f"{member.name}: credit over training",
        "One line per state and seed, the darker the deeper; read at the epochs that have a "
        f"point. First flags: {told or 'none'}.",
        ("credit", "cosine", y),
        values,
        flags,
        f"Cosine of {member.name} at the last epoch: {last}. First flags: {told or 'none'}.",
        ("check", "seed", "first flag", "read until epoch"),
        [(o.check, str(o.seed), "never" if o.epoch is None else f"epoch {o.epoch}", str(o.last))
         for o in found],
        points=True,
    )  # fmt: skip


def first_growth(history: Sequence[Epoch], growth: float) -> int | None:
    """The first epoch at whose end some ‖h_{l+1}‖/‖h_l‖ is above the limit."""
    for epoch in history:
        pairs = pairwise(epoch.state_norms)
        if any(before > 0 and after / before > growth for before, after in pairs):
            return epoch.epoch
    return None


def _figure(
    id: str,
    title: str,
    caption: str,
    looks_of: tuple[str, str, Spec],
    values: list[Row],
    flags: list[Row],
    alt: str,
    headings: tuple[str, ...],
    cells: Sequence[tuple[str, ...]],
    *,
    points: bool = False,
) -> Figure:
    colour, quantity, y = looks_of
    names = sorted({v["state"] for v in values}, key=lambda name: int(name[1:]))
    x_epoch = _epochs({v["epoch"] for v in values})
    series = alike(names, colour, fade=True)
    looks = scales(series, "state")
    mark: Spec = {"type": "line", "strokeWidth": 1.8}
    if points:
        mark["point"] = {"size": 16}
    hover = tooltip(epoch="epoch", state="state", seed="seed", shown=quantity,
                    **({"null": "fresh feedback"} if points else {}))  # fmt: skip
    layers: list[Spec] = [
        {"data": {"values": values}, "transform": visible("state"), "mark": mark,
         "encoding": {"x": x_epoch, "y": {"field": "value", **y}, "detail": {"field": "seed"},
                      "color": looks["color"], "strokeDash": looks["strokeDash"],
                      "opacity": looks["opacity"], "tooltip": hover}},
    ]  # fmt: skip
    if flags:
        layers.append(
            {"data": {"values": flags},
             "mark": {"type": "rule", "color": "$ink", "strokeDash": [3, 3], "strokeWidth": 1.5},
             "encoding": {"x": x_epoch,
                          "tooltip": tooltip(flag="first flag", epoch="epoch", seed="seed")}}
        )  # fmt: skip
    spec = {"height": 230, "layer": layers}
    return Figure(id, title, caption, spec, series, "state", alt, headings, tuple(cells))


def _epochs(read: Collection[int]) -> Spec:
    """An axis with ticks at whole epochs alone."""
    first, last = min(read), max(read)
    every = max(1, -(-(last - first) // TICKS))
    return {"field": "epoch", "type": "quantitative", "title": "epoch",
            "axis": {"values": list(range(first, last + 1, every)), "format": "d"},
            "scale": {"domain": [first, last], "nice": False}}  # fmt: skip


def _null(reading: Reading) -> str:
    null = reading.null
    return "not taken" if null is None or null.std is None else chance(null.mean, null.std)
