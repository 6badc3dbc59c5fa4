"""Figures: the numbers that they draw, what they leave out, and files for a paper."""

import re
from dataclasses import replace
from statistics import fmean

import pytest
from materials import material, record, sweep
from studies import LEVEL, reading

from faeval.report.comparisons import accuracy_figure, ladder_figure, penalty_figures, rate_figure
from faeval.report.course import credit_figure, first_growth, time_figure
from faeval.report.figure import DARK, LIGHT, coloured, logarithmic
from faeval.report.figures import WIDTHS, paper_figures
from faeval.report.html import method_figures
from faeval.report.layers import cosine_domain, cosine_figure, image_figure, norm_figure
from faeval.verdict.method import Thresholds

LIMITS = Thresholds()


@pytest.fixture(scope="module")
def study():
    return material(sweep())


def drawn(spec) -> list[dict]:
    """Every row of data in a specification."""
    if isinstance(spec, list):
        return [row for part in spec for row in drawn(part)]
    if not isinstance(spec, dict):
        return []
    own = spec["data"]["values"] if "data" in spec else []
    return own + [row for k, v in spec.items() if k != "data" for row in drawn(v)]


def member(study, name: str):
    return next(m for m in study.members if m.name == name)


def test_the_cosine_figure_draws_means_seeds_and_the_null_band(study):
    dfa = member(study, "dfa")
    domain = cosine_domain(study.members, LEVEL)
    figure = cosine_figure(dfa, LIMITS, domain)
    rows = drawn(figure.spec)
    for l in range(5):
        at = [reading(l, seed) for seed in (1, 2)]
        mean = fmean(r.cosine_mean for r in at)
        of_state = [r for r in rows if r.get("state") == f"h{l}"]
        assert any(r.get("value") == pytest.approx(mean, rel=1e-4) and "low" in r for r in of_state)
        (band,) = [r for r in of_state if "from" in r]
        std = fmean(r.null.std for r in at)
        assert (band["from"], band["to"]) == pytest.approx((-2 * std, 2 * std), rel=1e-4)
        shown = sorted(r["value"] for r in of_state if "seed" in r)
        assert shown == pytest.approx(sorted(r.cosine_mean for r in at), rel=1e-4)
        assert f"h{l} {mean:+.3f}" in figure.alt
        assert figure.rows[l][:2] == (f"h{l}", f"{mean:+.3f}")
    inside = [r[k] for r in rows for k in ("value", "from", "to") if r.get(k)]
    assert domain[0] <= min(inside)
    assert max(inside) <= domain[1]


def test_a_credit_that_is_the_gradient_has_no_cosine_figure(study):
    bp = member(study, "bp")
    assert cosine_figure(bp, LIMITS, [0, 1]) is None
    assert image_figure(bp, [0, 1]) is None
    assert norm_figure(bp, LIMITS) is not None


def test_boxes_are_the_quantiles_of_each_seed(study):
    figure = image_figure(member(study, "dfa"), [0, 1])
    rows = drawn(figure.spec)
    boxes = [r for r in rows if "q50" in r]
    assert len(boxes) == 10
    assert {(r["q5"], r["q25"], r["q50"], r["q75"], r["q95"]) for r in boxes} == {
        (0.1, 0.2, 0.3, 0.4, 0.5)
    }


def test_the_first_flag_is_where_growth_crosses_the_limit(study):
    dfa, calm = member(study, "dfa"), member(study, "dfa λ=0.01")
    assert first_growth(dfa.records[0].history, 50) == 2
    assert first_growth(dfa.records[0].history, 100) is None
    flags = [r for r in drawn(time_figure(dfa, LIMITS).spec) if "flag" in r]
    assert [(f["epoch"], f["seed"]) for f in flags] == [(2, "1"), (2, "2")]
    assert not [r for r in drawn(time_figure(calm, LIMITS).spec) if "flag" in r]


def test_credit_over_training_is_drawn_where_it_was_read(study):
    dfa = member(study, "dfa")
    layers = dfa.records[0].layers
    early = [replace(r, cosine_mean=0.0, null=replace(r.null, p=0.5)) for r in layers]
    courses = {dfa.records[0].trial.id: [(0, early), (1, early), (2, layers)]}
    figure = credit_figure(dfa, courses, LIMITS)
    rows = drawn(figure.spec)
    assert {r["epoch"] for r in rows if "value" in r} == {0, 1, 2}
    (flag,) = [r for r in rows if "flag" in r and r["epoch"] == 1]
    assert "deep credit" in flag["flag"]
    assert credit_figure(dfa, {}, LIMITS) is None


def test_what_was_not_varied_is_not_drawn():
    plain = material([record(s, rule=r) for r in ("bp", "dfa") for s in (1, 2)])
    assert penalty_figures(plain) == []
    assert ladder_figure(plain) is None
    assert rate_figure(plain) is None
    gone = material([record(1, diverged=True)])
    assert accuracy_figure(gone) is None
    assert [len(figures) for figures in method_figures(gone).values()] == [0, 0, 0, 1, 0]


def test_ladder_penalties_and_rates_draw_their_means(study):
    ladder = ladder_figure(study)
    assert [(x, mean) for method, x, mean, *_ in ladder.rows if method == "dfa"] == [
        ("0", "0.515"), ("2", "0.565"), ("4", "0.615"),
    ]  # fmt: skip
    accuracy = penalty_figures(study)[0]
    assert [row[:3] for row in accuracy.rows if row[0] == "dfa"] == [
        ("dfa", "0", "0.615"), ("dfa", "0.01", "0.715"),
    ]  # fmt: skip
    tuned = [record(s, rate=rate, validation=0.1, accuracy=10 * rate)
             for rate in (1e-3, 1e-2) for s in (1, 2)]  # fmt: skip
    rates = rate_figure(material([*sweep(), *tuned]))
    assert [row[:3] for row in rates.rows] == [("dfa", "0.001", "0.025"), ("dfa", "0.01", "0.115")]
    assert "validation accuracy" in str(rates.spec)


@pytest.mark.parametrize(
    "values", [[3.0, 3.0], [7.1, 9.9], [1e-8, 1e9], [0.02, 512.0], [1.0, 1000.0], [5e-324, 1.0]]
)
def test_logarithmic_axes_hold_their_values(values):
    axis = logarithmic(values, "")
    low, high = axis["scale"]["domain"]
    assert low <= min(values) * (1 + 1e-6)
    assert max(values) <= high * (1 + 1e-6)
    assert low < high
    assert 2 <= len(axis["axis"]["values"]) <= 12


def test_every_colour_has_a_name_and_stands_out():
    assert LIGHT.keys() == DARK.keys()

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        lin = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * lin[0] + 0.7152 * lin[1] + 0.0722 * lin[2]

    for theme in (LIGHT, DARK):
        paper = luminance(theme["paper"])
        for name in ("ink", "muted", "state", "credit", "reference", "practice"):
            a, b = sorted((luminance(theme[name]), paper))
            assert (b + 0.05) / (a + 0.05) >= 4.5, name
    with pytest.raises(KeyError):
        coloured({"color": "$no-such"}, LIGHT)


def test_files_for_a_paper_are_as_wide_as_its_columns():
    one = material([record(1)])
    for width, millimetres in WIDTHS.items():
        files = dict(paper_figures(one, width))
        assert {f"cosine-{width}.pdf", f"norms-{width}.svg", f"time-{width}.svg"} <= set(files)
        for name, content in files.items():
            if name.endswith(".pdf"):
                assert content.startswith(b"%PDF")
            else:
                wide = float(re.search(r'<svg[^>]*?\bwidth="([\d.]+)"', content.decode())[1])
                assert wide * 25.4 / 72 == pytest.approx(millimetres, abs=1.5)
                assert "var(--" not in content.decode()
