"""The terminal at 100 columns without colour: whole numbers, the view's, and no escape codes."""

import re
from dataclasses import replace

import pytest
from studies import LEVEL, STUDIES, judged, method, run, with_divergence

from faeval.report.terminal import (
    PLAIN_WIDTH,
    console,
    legend,
    show_findings,
    show_states,
    show_study,
)
from faeval.report.view import method_rows, state_rows
from faeval.stats.intervals import Interval
from faeval.verdict.contrast import Contrast
from faeval.verdict.finding import Finding
from faeval.verdict.judge import Judgement
from faeval.verdict.method import Method

NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]\d+)?")
HEADING = "digits · resmlp depth=4 width=8 · recipe default, 2 epochs"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def shown(judgement: Judgement, capsys) -> list[str]:
    show_study(console(), HEADING, judgement, LEVEL)
    legend(console(), 360)
    return capsys.readouterr().out.splitlines()


def rows_below(lines: list[str], start: str, count: int) -> list[str]:
    """The rows of the table whose title or heading line begins with `start`."""
    first = next(i for i, line in enumerate(lines) if line.startswith(start))
    return lines[first + 1 : first + 1 + count]


def same(text: str, value: float) -> bool:
    """Whether a printed number is `value`, rounded where it ends."""
    mantissa, _, exponent = text.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return abs(float(text) - value) <= 0.5001 * 10.0 ** (int(exponent or 0) - decimals)


def expect(line: str, values: list) -> None:
    """`line` shows these numbers, in this order, and no other."""
    numbers = [v for v in values if v is not None]
    texts = NUMBER.findall(line)
    assert len(texts) == len(numbers), line
    for text, number in zip(texts, numbers, strict=True):
        assert same(text, number), (line, number)


def bounds(interval) -> list:
    return [None] * 3 if interval is None else [interval.estimate, interval.low, interval.high]


@pytest.mark.parametrize("name", STUDIES)
def test_no_line_is_too_long_and_none_has_codes(name, capsys):
    lines = shown(STUDIES[name](), capsys)
    assert PLAIN_WIDTH == 100
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert not re.search(r"\b(nan|inf|None)\b", text, re.IGNORECASE)


def seeds_of(one: Method) -> str:
    """How a title counts seeds: those that are left, of all where some diverged."""
    left, planned = len(one.completed), len(one.runs)
    number = str(planned) if left == planned else f"{left} of {planned}"
    return f"{number} seed" + ("" if planned == 1 else "s")


@pytest.mark.parametrize("name", STUDIES)
def test_every_number_in_the_state_tables_is_the_views(name, capsys):
    judgement = STUDIES[name]()
    lines = shown(judgement, capsys)
    for one in judgement.methods:
        title = f"{one.name}, {seeds_of(one)}"
        assert [line.rstrip() for line in lines].count(title) == 1
        rows = state_rows(one, LEVEL)
        for row, line in zip(rows, rows_below(lines, title, len(rows) + 1)[1:], strict=True):
            assert line.split()[0] == row.state
            assert "…" not in line, f"a number is cut: {line}"
            expect(
                line.removeprefix(row.state),
                [
                    *bounds(row.cosine), row.spread, row.null, row.clamped, row.reference_norm,
                    row.credit_norm, row.state_norm, row.reference_error,
                    row.undefined if row.state != "mean" else None,
                ],
            )  # fmt: skip


@pytest.mark.parametrize("name", STUDIES)
def test_every_number_in_the_method_table_is_the_views(name, capsys):
    judgement = STUDIES[name]()
    lines = shown(judgement, capsys)
    start = next(i for i, line in enumerate(lines) if line.startswith("method "))
    for row in method_rows(judgement, LEVEL):
        line = next(l for l in lines[start:] if l.startswith(row.name + "  "))
        gain = None if row.gain is None else 100 * row.gain.estimate
        control = row.control.estimate if row.control else None
        expect(line.removeprefix(row.name), [*bounds(row.accuracy), control, gain])
        assert row.verdict in line


def sections(lines: list[str]) -> dict[str, list[str]]:
    """What stands below each verdict, up to the next empty line."""
    found: dict[str, list[str]] = {}
    current = None
    for line in (l.rstrip() for l in lines):
        if re.fullmatch(r".+: (trust|caution|refuse)", line) and not line.startswith(" "):
            current = found.setdefault(line, [])
        elif not line:
            current = None
        elif current is not None:
            current.append(line)
    return found


def told(findings) -> list[str]:
    """Sentences of what did not pass, notes last; then one line of what passed a number."""
    marks = {"flag": "✗", "unmeasured": "?"}
    lines, notes, numbers = [], [], []
    for f in findings:
        sentence = f"{f.check}: {f.evidence}. {f.consequence}"
        if f.severity == "note":
            notes += [f"· {sentence}"] if f.status == "flag" else []
        elif f.status != "pass":
            lines.append(f"{marks[f.status]} {sentence}")
        elif f.value is not None:
            both = f"{f.value:.2g}, limit {f.threshold:g}"
            numbers.append(f.check if f.value == f.threshold == 0 else f"{f.check} ({both})")
    passed = [f"✓ passed: {', '.join(numbers)}"] if numbers else []
    return lines + notes + passed


@pytest.mark.parametrize("name", STUDIES)
def test_every_finding_is_told_under_its_method(name, capsys):
    judgement = STUDIES[name]()
    below = sections(shown(judgement, capsys))
    assert list(below) == [f"{v.method}: {v.verdict}" for v in judgement.verdicts]
    for verdict, lines in zip(judgement.verdicts, below.values(), strict=True):
        expected = told(judgement.findings_on(verdict.method))
        assert " ".join(" ".join(lines).split()) == " ".join(" ".join(expected).split())
        # Each begins a line of its own, and what follows of it is indented as far.
        starts = [line for line in lines if re.match(r"  [✗?·✓] ", line)]
        assert len(starts) == len(expected)
        assert all(line.startswith("  ") for line in lines)


def finding(check: str, status: str, severity: str, value=None, threshold=None) -> Finding:
    margin = None if value is None else threshold - value
    return Finding(
        "dfa", check, status, severity, value, threshold, margin, f"{check} saw", f"So {check}."
    )


def test_findings_in_their_order_and_to_the_letter(capsys):
    show_findings(
        console(),
        [
            finding("a", "pass", "refuse", 0, 0),
            finding("b", "flag", "note", 2, 0),
            finding("c", "unmeasured", "caution"),
            finding("d", "pass", "caution", 0.123456, 50.0),
            finding("e", "pass", "refuse"),
            finding("f", "flag", "refuse", 3.0, 1.0),
            finding("g", "unmeasured", "note"),
            finding("h", "pass", "note", 1e-5, 1e-7),
            finding("i", "pass", "refuse", 3.559e-07, 0.001),
            finding("j", "pass", "caution", 0, 0.05),
        ],
    )
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "  ? c: c saw. So c.",
        "  ✗ f: f saw. So f.",
        "  · b: b saw. So b.",
        "  ✓ passed: a, d (0.12, limit 50), i (3.6e-07, limit 0.001), j (0, limit 0.05)",
    ]


def test_where_nothing_was_compared_nothing_is_said_to_have_passed(capsys):
    show_findings(console(), [finding("e", "pass", "refuse"), finding("h", "pass", "note", 1, 2)])
    assert capsys.readouterr().out == ""


def test_one_seed_says_so(capsys):
    text = "\n".join(shown(STUDIES["one_seed"](), capsys))
    assert "dfa, 1 seed\n" in re.sub(" +\n", "\n", text)
    # Once for each state of the contrast; the gains of both methods pass, in numbers only.
    assert text.count("one seed, no interval") == 4
    assert len(re.findall(r"depth utility \(0\.\d+, limit 0\.02\)", " ".join(text.split()))) == 2


def test_one_seed_says_so_of_a_gain_that_is_missing(capsys):
    flat = Method("dfa", 0.0, (replace(run(42), control=0.7),))
    text = " ".join("\n".join(shown(judged(flat), capsys)).split())
    assert "✗ depth utility: +0.0 pp over frozen blocks (one seed, no interval; limit" in text


def test_contrasts_are_told_with_their_interval(capsys):
    judgement = STUDIES["typical"]()
    lines = shown(judgement, capsys)
    start = next(i for i, line in enumerate(lines) if line.startswith("dfa: the penalty 0.01 "))
    assert len(judgement.contrasts) == 4
    assert lines[start + 1 + 4].strip() == ""
    for contrast, line in zip(judgement.contrasts, lines[start + 1 : start + 5], strict=True):
        assert line.startswith(f"  h{contrast.state}: ")
        d = contrast.difference
        numbers = [contrast.without, contrast.with_penalty, d.estimate, 95, 3, d.low, d.high]
        expect(line.partition(":")[2].partition(", not clear")[0], numbers)
        assert ("not clear of 0" in line) == (not contrast.clear)


def contrast(state: int, low: float | None, high: float | None, **changes) -> Contrast:
    centre = 0.3 if low is None else (low + high) / 2
    interval = Interval(centre, low, high, level=0.995, n=3, population="seeds", method="student-t")
    fields = {"rule": "dfa", "penalty": 0.01, "without": 0.2, "with_penalty": 0.2 + centre}
    return Contrast(state=state, difference=interval, **(fields | changes))


UP, DOWN, OPEN, NONE = (0.1, 0.3), (-0.3, -0.1), (-0.1, 0.3), (None, None)


@pytest.mark.parametrize(
    ("bounds", "headline"),
    [
        ((UP,), "raises the credit at h1"),
        ((OPEN, DOWN), "lowers the credit at h2"),
        ((UP, OPEN, UP), "raises the credit at h1, h3"),
        ((OPEN, DOWN, OPEN, UP), "raises the credit at h4 and lowers the credit at h2"),
        ((DOWN, UP, DOWN), "raises the credit at h2 and lowers the credit at h1, h3"),
        ((OPEN, OPEN), "does not clearly change the credit anywhere"),
        ((NONE, NONE), "changes the credit in this one seed"),
        (((0.0, 0.3), (-0.3, 0.0)), "does not clearly change the credit anywhere"),
    ],
)
def test_the_headline_of_a_penalty_says_where_it_is_clear(bounds, headline, capsys):
    made = tuple(contrast(l, *b) for l, b in enumerate(bounds, start=1))
    lines = shown(replace(judged(method(1, 2, 3)), contrasts=made), capsys)
    assert [l.rstrip() for l in lines].count(f"dfa: the penalty 0.01 {headline}") == 1
    assert sum("the penalty" in line for line in lines) == 1


def test_each_rule_and_penalty_has_its_headline(capsys):
    made = (
        contrast(1, *UP),
        contrast(1, *DOWN, penalty=1e-4),
        contrast(1, *OPEN, rule="fa"),
    )
    lines = shown(replace(judged(method(1, 2, 3)), contrasts=made), capsys)
    starts = [i for i, line in enumerate(lines) if "the penalty" in line]
    assert [lines[i].rstrip() for i in starts] == [
        "dfa: the penalty 0.01 raises the credit at h1",
        "dfa: the penalty 0.0001 lowers the credit at h1",
        "fa: the penalty 0.01 does not clearly change the credit anywhere",
    ]
    assert [lines[i + 1].rstrip() for i in starts] == [
        "  h1: +0.20 → +0.40, difference +0.20 (99.5% over 3 seeds +0.10 to +0.30)",
        "  h1: +0.20 → +0.00, difference -0.20 (99.5% over 3 seeds -0.30 to -0.10)",
        "  h1: +0.20 → +0.30, difference +0.10 (99.5% over 3 seeds -0.10 to +0.30, not clear of 0)",
    ]


def test_a_method_without_any_completed_seed_has_a_table_and_a_reason(capsys):
    text = "\n".join(shown(with_divergence(), capsys))
    assert "pepita, 0 of 2 seeds" in text
    assert "diverged: seed 1 (epoch 2, h3), seed 2 (epoch 2, h3)" in " ".join(text.split())


def test_a_table_tells_how_many_of_its_seeds_are_missing(capsys):
    """`dfa, 2 seeds` over a study of three is a selection that has to be visible there."""
    lines = shown(with_divergence(), capsys)
    titles = [line.rstrip() for line in lines if re.match(r"\S.*, \d.* seeds?$", line.rstrip())]
    assert titles == ["pepita, 0 of 2 seeds", "dfa, 2 of 3 seeds", "dfa λ=0.01, 3 seeds"]


def test_a_long_name_is_folded_and_no_number_is_lost(capsys):
    one = method(1, 2, rule="dfa(scale=0.30000000000000004, other=123456789)", penalty=0.012345)
    lines = shown(judged(one), capsys)
    assert max(map(len, lines)) <= 100
    row = method_rows(judged(one), LEVEL)[0]
    assert any(f"{row.accuracy.estimate:.3f}" in line for line in lines)
    assert any(f"{row.accuracy.low:.3f} to {row.accuracy.high:.3f}" in line for line in lines)
    assert "…" not in "\n".join(lines)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99, 0.995, 0.999])
def test_the_level_is_told_as_it_is(level, capsys):
    one = Method("dfa", 0.0, (run(1), run(2)))
    show_states(console(), "dfa", state_rows(one, level), level)
    heading = capsys.readouterr().out.splitlines()[2]
    assert heading.split() == (
        f"state cosine {100 * level:g}% seeds images null clamped ‖g‖ ‖a‖ ‖h‖ error undef".split()
    )


def test_colour_is_used_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    show_study(console(), HEADING, STUDIES["one_seed"](), LEVEL)
    assert "\x1b[" in capsys.readouterr().out
