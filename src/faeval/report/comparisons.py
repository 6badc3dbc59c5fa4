"""Figures that compare methods: their scores with and without depth, and what a study varied."""

from collections.abc import Callable, Collection, Sequence
from math import inf

from faeval.core.score import RANGE, either
from faeval.core.trial import shortest
from faeval.report.figure import (
    FROZEN,
    TRAINED,
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
from faeval.report.material import Material, Member
from faeval.report.view import method_rows, over_seeds, state_rows
from faeval.report.wording import accuracy, extent, gain, gain_extent, magnitude, signed
from faeval.stats.intervals import Interval

FROZEN_TOO = ", frozen blocks"


def accuracy_figure(material: Material) -> Figure | None:
    """Accuracy of every method beside that of its frozen blocks, paired by seed."""
    rows = method_rows(material.judgement, material.thresholds.level)
    score = _score(material)
    values: list[Row] = []
    pairs: list[Row] = []
    bars: list[Row] = []
    for row, member in zip(rows, material.members, strict=True):
        for run in member.method.completed:
            texts = {"method": row.name, "seed": str(run.seed)}
            for kind, value in ((TRAINED, run.accuracy), (FROZEN, run.control)):
                if value is not None:
                    values.append({**texts, "quantity": kind.name, "value": rounded(value),
                                   "shown": f"{value:.3f}"})  # fmt: skip
            if run.accuracy is not None and run.control is not None:
                ends = {"from": rounded(run.control), "to": rounded(run.accuracy)}
                pairs.append({**texts, **ends})
        if row.accuracy and row.accuracy.low is not None:
            bars.append({"method": row.name, "low": rounded(row.accuracy.low),
                         "high": rounded(row.accuracy.high), "shown": accuracy(row.accuracy),
                         "interval": extent(row.accuracy, signed=False)})  # fmt: skip
    if not values:
        return None
    series = (TRAINED, FROZEN)
    looks = scales(series, "quantity")
    names = [row.name for row in rows]
    y: Spec = {"field": "method", "type": "nominal", "sort": names, "title": None,
               "axis": {"labelLimit": 220, "domain": False, "ticks": False}}  # fmt: skip
    x: Spec = {"type": "quantitative", "title": f"test {score}", "scale": {"zero": False},
               "axis": {"tickCount": 8}}  # fmt: skip
    layers = [
        {"data": {"values": pairs}, "mark": {"type": "rule", "color": "$null", "opacity": 0.7},
         "encoding": {"y": y, "x": {**x, "field": "from"}, "x2": {"field": "to"}}},
        {"data": {"values": bars},
         "mark": {"type": "rule", "strokeWidth": 7, "color": "$ink", "opacity": 0.22},
         "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"},
                      "tooltip": tooltip(method="method", shown="mean", interval="over seeds")}},
        {"data": {"values": values}, "transform": visible("quantity"),
         "mark": {"type": "point", "size": 60},
         "encoding": {"y": y, "x": {**x, "field": "value"}, "color": looks["color"],
                      "shape": looks["shape"],
                      "tooltip": tooltip(method="method", quantity="what", seed="seed",
                                         shown=score)}},
    ]  # fmt: skip
    told = "; ".join(
        f"{r.name} {accuracy(r.accuracy)} against {accuracy(r.control)} with frozen blocks"
        for r in rows
    )
    return Figure(
        "accuracy",
        f"What depth adds: {score} with trained and with frozen blocks",
        "One point per seed, joined with its own control; bar: interval of the mean over seeds.",
        {"height": 30 * len(names) + 50, "layer": layers},
        series, "quantity",
        f"{_titled(score)}: {told}.",
        ("method", score, "over seeds", "frozen blocks", "gain", "gain over seeds"),
        tuple(
            (r.name, accuracy(r.accuracy), extent(r.accuracy, signed=False), accuracy(r.control),
             gain(r.gain, r.score), gain_extent(r.gain, r.score))
            for r in rows
        ),
    )  # fmt: skip


def penalty_figures(material: Material) -> list[Figure]:
    """Accuracy, cosines and growth over the penalty, where a rule ran with several."""
    sweeps = {
        rule: sorted((m for m in material.members if m.method.rule == rule),
                     key=lambda m: m.method.penalty)
        for rule in dict.fromkeys(m.method.rule for m in material.members)
    }  # fmt: skip
    sweeps = {rule: some for rule, some in sweeps.items() if len(some) > 1}
    level = material.thresholds.level
    members = [m for some in sweeps.values() for m in some]
    rows = {r.name: r for r in method_rows(material.judgement, level)}
    score = _score(material)

    def size(member: Member) -> Interval | None:
        norms = [run.layers[-1].state_norm for run in member.method.completed if run.layers]
        return over_seeds(norms, level, (0, inf))

    figures = [
        _curve(
            "penalty-accuracy", f"{_titled(score)} over the penalty", "λ, penalty on block outputs",
            f"test {score}", "ink", lambda i: f"{i.estimate:.3f}",
            [(m.method.rule, shortest(m.method.penalty), rows[m.name].accuracy) for m in members],
        ),
        _curve(
            "penalty-states", "‖h‖ at the last state over the penalty",
            "λ, penalty on block outputs", "‖h‖ at the last state", "state",
            lambda i: magnitude(i.estimate),
            [(m.method.rule, shortest(m.method.penalty), size(m)) for m in members], log=True,
        ),
    ]  # fmt: skip
    for rule, some in sweeps.items():
        if some[0].method.credit_is_gradient:
            continue
        figures.append(
            _curve(
                f"penalty-cosine-{some[0].slug}", f"{rule}: cosine of each state over the penalty",
                "λ, penalty on block outputs", "cosine with the true gradient", "credit",
                lambda i: signed(i.estimate),
                [(row.state, shortest(m.method.penalty), row.cosine)
                 for m in some for row in state_rows(m.method, level)[:-1]],
                series_title="state",
            )
        )  # fmt: skip
    return [f for f in figures if f]


def ladder_figure(material: Material) -> Figure | None:
    """Accuracy over the number of trainable blocks, where some method has a rung in between."""
    level, score = material.thresholds.level, _score(material)
    rungs = []
    for member in material.members:
        if not any(blocks > 0 for blocks in member.partial):
            continue
        full = member.records[0].trial.trainable_blocks
        below = {0: member.controls, **member.partial} if member.controls else member.partial
        for blocks, records in [*below.items(), (full, member.records)]:
            mean = over_seeds((r.accuracy for r in records), level, RANGE[member.method.score])
            rungs.append((member.name, str(blocks), mean))
    return _curve(
        "ladder", f"Depth ladder: {score} over the number of trainable blocks",
        "trainable blocks, counted from the head", f"test {score}", "ink",
        lambda i: f"{i.estimate:.3f}", rungs,
    )  # fmt: skip


def rate_figure(material: Material) -> Figure | None:
    """Accuracy over the learning rate: of held-out data where rates were tuned on them, else of
    the methods that differ in nothing else."""
    level = material.thresholds.level
    score = either(curve.score for curve in material.curves) or _score(material)
    possible = RANGE["accuracy"] if score == "accuracy" else None
    by_curve: dict[tuple[str, float], list[float | None]] = {}
    what = f"{'validation' if material.curves else 'test'} {score}"
    for curve in material.curves:
        for suffix, sides in (("", curve.accuracies), (FROZEN_TOO, curve.controls)):
            for rate, by_seed in zip(curve.rates, sides, strict=True):
                by_curve[curve.name + suffix, rate] = list(by_seed.values())
    for record in () if material.curves else [r for m in material.members for r in m.records]:
        trial = record.trial
        same = (m.plain for m in material.members if m.records[0].trial.rule == trial.rule)
        penalty = f" λ={shortest(trial.penalty)}" if trial.penalty else ""
        key = f"{next(same, trial.rule['name'])}{penalty}", trial.recipe.learning_rate
        by_curve.setdefault(key, []).append(record.accuracy)
    curves = [name for name, _ in by_curve]
    points_ = [
        (name, shortest(rate), over_seeds(values, level, possible))
        for (name, rate), values in sorted(by_curve.items(), key=lambda item: item[0][1])
        if curves.count(name) > 1
    ]
    chosen = {
        (name, shortest(rate))
        for curve in material.curves
        for name, rate in ((curve.name, curve.best), (f"{curve.name}{FROZEN_TOO}",
                                                      curve.best_control))
        if rate is not None
    }  # fmt: skip
    return _curve(
        "rates", f"{_titled(score)} over the learning rate", "learning rate", what, "ink",
        lambda i: f"{i.estimate:.3f}", points_, chosen=chosen,
    )  # fmt: skip


def _curve(
    id: str,
    title: str,
    x_title: str,
    y_title: str,
    colour: str,
    write: Callable[[Interval], str],
    points: Sequence[tuple[str, str, Interval | None]],
    *,
    series_title: str = "method",
    log: bool = False,
    chosen: Collection[tuple[str, str]] = (),
) -> Figure | None:
    """(series, x, y) as lines of one colour, told apart by shape and dash; None without lines.
    A ring marks the `chosen` (series, x)."""
    values: list[Row] = [
        {"series": series, "x": x, "value": rounded(y.estimate), "low": rounded(y.low),
         "high": rounded(y.high), "shown": write(y), "n": str(y.n),
         "interval": _bounds(y, write), "chosen": "chosen" if (series, x) in chosen else ""}
        for series, x, y in points
        if y is not None
    ]  # fmt: skip
    places = sorted(dict.fromkeys(v["x"] for v in values), key=float)
    if len(places) < 2:
        return None
    names = list(dict.fromkeys(v["series"] for v in values))
    lines = alike(names, colour)
    looks = scales(lines, "series")
    x: Spec = {"field": "x", "type": "ordinal", "sort": places, "title": x_title}
    y: Spec = {"field": "value", "type": "quantitative", "title": y_title, "scale": {"zero": False}}
    if log:
        ends = [v[k] for v in values for k in ("value", "low", "high") if v[k] and v[k] > 0]
        y |= logarithmic(ends, y_title)
    hover = tooltip(series=series_title, x=x_title, shown="mean", interval="over seeds", n="seeds")
    drawable = f"datum.low !== null && datum.low > {0 if log else '-1/0'}"
    layers = [
        {"mark": {"type": "rule", "strokeWidth": 5, "opacity": 0.25},
         "transform": [{"filter": drawable}],
         "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"},
                      "color": looks["color"]}},
        {"mark": {"type": "line"},
         "encoding": {"x": x, "y": y, "color": looks["color"], "strokeDash": looks["strokeDash"]}},
        {"mark": {"type": "point"},
         "encoding": {"x": x, "y": y, "color": looks["color"], "shape": looks["shape"],
                      "tooltip": hover}},
    ]  # fmt: skip
    if chosen:
        layers.append(
            {"transform": [{"filter": "datum.chosen !== ''"}],
             "mark": {"type": "point", "shape": "circle", "size": 260, "filled": False,
                      "strokeWidth": 2, "color": "$reference"},
             "encoding": {"x": x, "y": y, "tooltip": hover}}
        )  # fmt: skip
    told = "; ".join(
        f"{name}: "
        + ", ".join(
            f"{v['x']} {v['shown']}" + (" (chosen)" if v["chosen"] else "")
            for v in values
            if v["series"] == name
        )
        for name in names
    )
    columns = (series_title, x_title, "mean", "over seeds", "seeds")
    return Figure(
        id, title, "Lines: means over seeds; uprights: their intervals"
        + ("; rings: the value that was chosen." if chosen else "."),
        {"height": 230, "data": {"values": values}, "transform": visible("series"),
         "layer": layers},
        lines, "series",
        f"{title}. {told}.",
        columns + (("chosen",) if chosen else ()),
        tuple((v["series"], v["x"], v["shown"], v["interval"], v["n"],
               *((v["chosen"],) if chosen else ())) for v in values),
    )  # fmt: skip


def _bounds(interval: Interval, write: Callable[[Interval], str]) -> str:
    if interval.low is None or interval.high is None:
        return "one seed, no interval"
    low, high = (
        Interval(v, None, None, interval.level, interval.population, 1, "none")
        for v in (interval.low, interval.high)
    )
    return f"{write(low)} to {write(high)}"


def _score(material: Material) -> str:
    return either(member.method.score for member in material.members)


def _titled(score: str) -> str:
    return score[:1].upper() + score[1:]
