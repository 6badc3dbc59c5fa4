"""Figures of one method, state by state: cosines, norms, and the spread over images."""

from collections.abc import Sequence

from faeval.core.reading import Reading
from faeval.report.figure import (
    CLAMPED,
    CREDIT,
    REFERENCE,
    SENSITIVITY,
    STATE,
    TRUE,
    Figure,
    Row,
    Series,
    Spec,
    logarithmic,
    rounded,
    scales,
    tooltip,
    visible,
)
from faeval.report.material import Member
from faeval.report.view import StateRow, state_rows
from faeval.report.wording import chance, extent, magnitude, signed
from faeval.verdict.method import Thresholds, layers_of

NORMS = {
    STATE: "state_norm",
    CREDIT: "credit_norm",
    REFERENCE: "reference_norm",
    SENSITIVITY: "sensitivity",
}
X_STATE = {"field": "state", "type": "ordinal", "sort": None, "title": "state"}


def cosine_domain(members: Sequence[Member], level: float) -> list[float]:
    """One scale for the cosines of all methods: profiles are compared by eye."""
    values = [0.0, 0.1]
    for member in members:
        if member.method.credit_is_gradient:
            continue
        for row in state_rows(member.method, level)[:-1]:
            null = 2 * row.null if row.null is not None else None
            mean = row.cosine
            ends = (mean.low, mean.high, mean.estimate) if mean else ()
            shown = (*ends, row.clamped, row.fresh, null, null and -null)
            values += [v for v in shown if v is not None]
        means = [r.cosine_mean for _, r in layers_of(member.method)]
        values += [v for v in means if v is not None]
    return [max(-1.0, min(values) // 0.1 * 0.1), min(1.0, -(-max(values) // 0.1) * 0.1)]


def cosine_figure(member: Member, thresholds: Thresholds, domain: list[float]) -> Figure | None:
    """Cosine at every state, with its interval over seeds and the band of fresh feedback."""
    rows = state_rows(member.method, thresholds.level)[:-1]
    if not rows or member.method.credit_is_gradient:
        return None
    values, band, seeds, draws = [], [], [], []
    for row in rows:
        if row.fresh is not None:
            null = chance(row.null_mean, row.null)
            draws.append({"state": row.state, "value": rounded(row.fresh),
                          "fresh": signed(row.fresh), "null": null})  # fmt: skip
        shown = {
            "state": row.state, "true": signed(row.cosine.estimate if row.cosine else None),
            "interval": extent(row.cosine) or "one seed, no interval",
            "null": chance(row.null_mean, row.null) or "not taken", "clamped": signed(row.clamped),
            "fresh": "not taken" if row.fresh is None else signed(row.fresh),
        }  # fmt: skip
        if row.cosine:
            low, high = rounded(row.cosine.low), rounded(row.cosine.high)
            value = rounded(row.cosine.estimate)
            values.append(
                {**shown, "quantity": TRUE.name, "value": value, "low": low, "high": high}
            )
        if row.clamped is not None:
            values.append({**shown, "quantity": CLAMPED.name, "value": rounded(row.clamped)})
    for run, r in layers_of(member.method):
        name = f"h{r.state}"
        if r.cosine_mean is not None:
            text = {"seed": str(run.seed), "true": signed(r.cosine_mean)}
            seeds.append(
                {"state": name, "quantity": TRUE.name, "value": rounded(r.cosine_mean), **text}
            )
    for at in zip(*(run.layers for run in member.method.completed), strict=True):
        nulls = [r.null for r in at if r.null and r.null.std is not None]
        if nulls:
            std = sum(n.std or 0.0 for n in nulls) / len(nulls)
            mean = sum(n.mean or 0.0 for n in nulls) / len(nulls)
            ends = {"from": rounded(mean - 2 * std), "to": rounded(mean + 2 * std)}
            band.append({"state": f"h{at[0].state}", "null": chance(mean, std), **ends})
    y = {"field": "value", "type": "quantitative", "title": "cosine with the true gradient",
         "scale": {"domain": domain, "nice": False}}  # fmt: skip
    hover = tooltip(state="state", quantity="what", true="cosine", interval="over seeds",
                    null="fresh feedback (one seed)", fresh="one fresh draw",
                    clamped="clamped")  # fmt: skip
    series, shown_ = (TRUE, CLAMPED), visible("quantity")
    looks = scales(series, "quantity")
    layers: list[Spec] = [
        {"data": {"values": band},
         "mark": {"type": "bar", "width": {"band": 0.94}, "color": "$null", "opacity": 0.32},
         "encoding": {"x": X_STATE, "y": {**y, "field": "from"}, "y2": {"field": "to"},
                      "tooltip": tooltip(state="state", null="fresh feedback (one seed)")}},
        {"data": {"values": [{}]}, "mark": {"type": "rule", "color": "$muted"},
         "encoding": {"y": {"datum": 0, "type": "quantitative"}}},
        {"data": {"values": draws},
         "mark": {"type": "point", "shape": "diamond", "size": 50, "filled": False,
                  "color": "$muted"},
         "encoding": {"x": X_STATE, "y": y,
                      "tooltip": tooltip(state="state", fresh="one fresh draw",
                                         null="fresh feedback")}},
        {"data": {"values": seeds}, "transform": shown_,
         "mark": {"type": "point", "size": 14, "color": "$credit", "opacity": 0.55},
         "encoding": {"x": X_STATE, "y": y,
                      "tooltip": tooltip(state="state", seed="seed", true="cosine")}},
        {"data": {"values": values}, "transform": shown_,
         "mark": {"type": "rule", "strokeWidth": 2, "clip": True},  # no cosine is beyond 1
         "encoding": {"x": X_STATE, "y": {**y, "field": "low"}, "y2": {"field": "high"},
                      "color": looks["color"]}},
        _series(CLAMPED, 120, values, y, looks, hover),
        _series(TRUE, 45, values, y, looks, hover),
    ]  # fmt: skip
    if not band:
        layers = layers[1:]
    profile = ", ".join(f"{r.state} {signed(r.cosine.estimate if r.cosine else None)}"
                        f"{f' (null {chance(r.null_mean, r.null)})' if r.null is not None else ''}"
                        for r in rows)  # fmt: skip
    return Figure(
        f"cosine-{member.slug}",
        f"{member.name}: credit against the true gradient",
        ("Grey band: where 95 % of fresh feedback would put one seed (±2 standard deviations of "
         "the null)" if band else "No null was taken")
        + ("; hollow diamonds: where one fresh draw does. " if draws else ". ")
        + "Small points: seeds. Crosses: F.cosine_similarity on the mean-loss gradient.",
        {"height": 230, "layer": layers},
        series, "quantity",
        f"Cosine of the credit of {member.name} with the true gradient: {profile}.",
        ("state", "cosine", "over seeds", "null", "one fresh draw", "clamped"),
        tuple(_cosine_cells(row) for row in rows),
    )  # fmt: skip


def _series(
    series: Series, size: int, values: list[Row], y: Spec, looks: Spec, hover: list[Spec]
) -> Spec:
    """Line and points of one series; the clamped one lies beneath and peeks out."""
    shared = {"x": X_STATE, "y": y, "color": looks["color"]}
    return {
        "data": {"values": [v for v in values if v["quantity"] == series.name]},
        "transform": visible("quantity"),
        "layer": [
            {"mark": {"type": "line"}, "encoding": {**shared, "strokeDash": looks["strokeDash"]}},
            {"mark": {"type": "point", "size": size},
             "encoding": {**shared, "shape": looks["shape"], "tooltip": hover}},
        ],
    }  # fmt: skip


def norm_figure(member: Member, thresholds: Thresholds) -> Figure | None:
    """‖h‖, ‖a‖, ‖g‖ and ‖g‖·‖h‖ at every state, on one logarithmic axis."""
    values: list[Row] = []
    cells: dict[str, list[str]] = {}
    for at in zip(*(run.layers for run in member.method.completed), strict=True):
        name = f"h{at[0].state}"
        cells[name] = []
        for quantity, attribute in NORMS.items():
            mean = mean_of(at, attribute)
            cells[name].append(magnitude(mean) or "not defined")
            if mean is not None and mean > 0:
                values.append({"state": name, "quantity": quantity.name, "value": rounded(mean),
                               "shown": magnitude(mean)})  # fmt: skip
    if not values:
        return None
    looks = scales(list(NORMS), "quantity")
    y = {"field": "value", **logarithmic([v["value"] for v in values], "norm")}
    line = {"x": X_STATE, "y": y, "color": looks["color"]}
    layers = [
        {"mark": {"type": "line"}, "encoding": {**line, "strokeDash": looks["strokeDash"]}},
        {"mark": {"type": "point"},
         "encoding": {**line, "shape": looks["shape"],
                      "tooltip": tooltip(state="state", quantity="what", shown="mean")}},
    ]  # fmt: skip
    names = list(cells)
    told = "; ".join(
        f"{quantity.name} from {cells[names[0]][i]} at {names[0]} to {cells[names[-1]][i]} at "
        f"{names[-1]}"
        for i, quantity in enumerate(NORMS)
    )
    return Figure(
        f"norms-{member.slug}",
        f"{member.name}: size of states, credit and gradient",
        "Means over samples and seeds, per sample. ‖g‖·‖h‖ is free of the scale of the states.",
        {
            "height": 230,
            "data": {"values": values},
            "transform": visible("quantity"),
            "layer": layers,
        },
        tuple(NORMS),
        "quantity",
        f"Norms of {member.name}: {told}.",
        ("state", *(quantity.name for quantity in NORMS)),
        tuple((name, *texts) for name, texts in cells.items()),
    )


def image_figure(member: Member, domain: list[float]) -> Figure | None:
    """How the cosine spreads over images: quantiles of every state and seed."""
    if member.method.credit_is_gradient:
        return None
    values, cells = [], []
    for run, r in layers_of(member.method):
        if r.cosine_quantiles is None:
            continue
        texts = [signed(q) for q in r.cosine_quantiles]
        row: Row = dict(zip(("q5", "q25", "q50", "q75", "q95"), map(rounded, r.cosine_quantiles),
                            strict=True))  # fmt: skip
        middle = {"all": f"{texts[0]} to {texts[4]}", "half": f"{texts[1]} to {texts[3]}"}
        values.append({"state": f"h{r.state}", "seed": str(run.seed), **row, **middle,
                       "median": texts[2]})  # fmt: skip
        cells.append((f"h{r.state}", str(run.seed), *texts))
    if not values:
        return None
    cells.sort(key=lambda line: int(line[0][1:]))
    low, high = min(v["q5"] for v in values), max(v["q95"] for v in values)
    span = [min(domain[0], low // 0.1 * 0.1), max(domain[1], -(-high // 0.1) * 0.1)]
    y = {"type": "quantitative", "title": "cosine, over images",
         "scale": {"domain": [max(-1, span[0]), min(1, span[1])], "nice": False}}  # fmt: skip
    offset = {"field": "seed", "type": "nominal", "scale": {"paddingInner": 0.3,
                                                            "paddingOuter": 0.2}}  # fmt: skip
    x = {"x": X_STATE, "xOffset": offset}
    hover = tooltip(state="state", seed="seed", median="median", half="middle half",
                    all="5 to 95 %")  # fmt: skip

    def mark(kind: Spec, a: str, b: str | None = None) -> Spec:
        ends: Spec = {"y": {**y, "field": a}} | ({"y2": {"field": b}} if b else {})
        return {"mark": {"color": "$credit", **kind}, "encoding": {**x, **ends, "tooltip": hover}}

    layers = [
        {"data": {"values": [{}]}, "mark": {"type": "rule", "color": "$muted"},
         "encoding": {"y": {"datum": 0, "type": "quantitative"}}},
        mark({"type": "rule", "strokeWidth": 1.2}, "q5", "q95"),
        mark({"type": "bar", "opacity": 0.55}, "q25", "q75"),
        mark({"type": "tick", "thickness": 2, "color": "$ink"}, "q50"),
    ]  # fmt: skip
    samples = member.method.completed[0].layers[0].samples
    medians = ", ".join(f"{v['state']} {v['median']}" for v in values
                        if v["seed"] == values[0]["seed"])  # fmt: skip
    return Figure(
        f"images-{member.slug}",
        f"{member.name}: the cosine from image to image",
        f"One box per seed: median, middle half, and 5 to 95 % of {samples} test samples. They "
        "share one feedback: their spread is no evidence about the rule.",
        {"height": 230, "data": {"values": values}, "layer": layers},
        (),
        "state",
        f"Median cosine over images of {member.name}, seed {values[0]['seed']}: {medians}.",
        ("state", "seed", "5 %", "25 %", "median", "75 %", "95 %"),
        tuple(cells),
    )


def mean_of(at: Sequence[Reading], attribute: str) -> float | None:
    """The mean over seeds; None where some seed has no number."""
    values = [getattr(r, attribute) for r in at]
    return None if not values or None in values else sum(values) / len(values)


def _cosine_cells(row: StateRow) -> tuple[str, ...]:
    return (
        row.state,
        signed(row.cosine.estimate if row.cosine else None),
        extent(row.cosine),
        chance(row.null_mean, row.null),
        signed(row.fresh),
        signed(row.clamped),
    )
