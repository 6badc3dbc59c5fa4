"""The terminal at 100 columns without colour: whole numbers, the view's, and no escape codes."""

import re

import pytest
from studies import LEVEL, STUDIES, judged, method, run, with_divergence

from faeval.report.terminal import PLAIN_WIDTH, console, legend, show_states, show_study
from faeval.report.view import method_rows, state_rows
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


@pytest.mark.parametrize("name", STUDIES)
def test_every_number_in_the_state_tables_is_the_views(name, capsys):
    judgement = STUDIES[name]()
    lines = shown(judgement, capsys)
    for one in judgement.methods:
        seeds = len(one.completed)
        title = f"{one.name}, {seeds} seed" + ("" if seeds == 1 else "s")
        assert lines.count(next(line for line in lines if line.startswith(title))) == 1
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
        gain = None if row.gain is None else 100 * row.gain
        control = row.control.estimate if row.control else None
        expect(line.removeprefix(row.name), [*bounds(row.accuracy), control, gain])
        assert row.verdict in line


@pytest.mark.parametrize("name", STUDIES)
def test_every_finding_is_told_under_its_method(name, capsys):
    judgement = STUDIES[name]()
    words = " ".join(" ".join(shown(judgement, capsys)).split())
    for verdict in judgement.verdicts:
        assert f"{verdict.method}: {verdict.verdict}" in words
        for f in judgement.findings_on(verdict.method):
            mark = {"pass": "✓", "flag": "✗", "unmeasured": "?"}[f.status]
            if f.severity == "note" and f.status != "pass":
                mark = "·"
            told = f"{mark} {f.check}: {f.evidence}."
            if f.status != "pass":  # what passed needs no advice
                told += f" {f.consequence}"
            # What passed without a number compared is left out.
            assert (told in words) == (f.status != "pass" or f.value is not None)


def test_one_seed_says_so(capsys):
    text = "\n".join(shown(STUDIES["one_seed"](), capsys))
    assert "dfa, 1 seed\n" in re.sub(" +\n", "\n", text)
    # Once for each method's gain, once for each state of the contrast.
    assert text.count("one seed, no interval") == 2 + 4


def test_contrasts_are_told_with_their_interval(capsys):
    judgement = STUDIES["typical"]()
    lines = shown(judgement, capsys)
    start = next(i for i, line in enumerate(lines) if line.startswith("What the penalty 0.01"))
    assert "dfa" in lines[start]
    for contrast, line in zip(judgement.contrasts, lines[start + 1 :], strict=False):
        assert line.startswith(f"  h{contrast.state}: ")
        d = contrast.difference
        numbers = [contrast.without, contrast.with_penalty, d.estimate, 95, 3, d.low, d.high]
        expect(line.partition(":")[2].partition(", not clear")[0], numbers)
        assert ("not clear of 0" in line) == (not contrast.clear)


def test_a_method_without_any_completed_seed_has_a_table_and_a_reason(capsys):
    text = "\n".join(shown(with_divergence(), capsys))
    assert "pepita, 0 seeds" in text
    assert "diverged: seed 1 (epoch 2, h3), seed 2 (epoch 2, h3)" in " ".join(text.split())


def test_a_table_tells_how_many_of_its_seeds_are_missing(capsys):
    """`dfa, 2 seeds` over a study of three is a selection that has to be visible there."""
    lines = shown(with_divergence(), capsys)
    title = next(line for line in lines if line.startswith("dfa, 2"))
    assert re.search(r"of 3|1 diverged", title)


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
    assert re.search(rf"\b{100 * level:g}% seeds", heading)


def test_colour_is_used_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    show_study(console(), HEADING, STUDIES["one_seed"](), LEVEL)
    assert "\x1b[" in capsys.readouterr().out
