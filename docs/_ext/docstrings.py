"""From the docstrings of faeval, written to be read in a terminal, to reStructuredText.

Four forms occur in them, and no others: a paragraph; an indented equation or piece of code, as it
is written; a list of names, `name  what it is` in aligned columns or `name: what it is`; and the
sections `Args:`, `Returns:`, `Raises:`. Names in backquotes are code.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

ALIGNED = re.compile(r"((?:\*\*|\*)?[\w.*]+(?:, [\w.*]+)*) {2,}(\S.*)")
COLON = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): (\S.*)")
SECTION = re.compile(r"(Args|Returns|Raises):")
PAGES: dict[str, str] = {}  # names in code that have a page of their own, with its document
SOURCE = re.compile(r"(?:arXiv )?\b(\d{4}\.\d{5})\b(?![\d:])|\b(10\.\d{4,}/[\w./-]*\w)")


@dataclass
class Paragraph:
    """Sentences, wrapped or not."""

    text: str


@dataclass
class Verbatim:
    """Lines that stand as they are."""

    text: str


@dataclass
class Fields:
    """Names with what they are; a name may stand for several, `cosine_mean, cosine_std`."""

    rows: list[tuple[str, str]]


@dataclass
class Section:
    """`Args`, `Returns` or `Raises` with its blocks."""

    title: str
    blocks: "list[Block]"


Block = Paragraph | Verbatim | Fields | Section


def parse(docstring: str) -> list[Block]:
    """The blocks of a docstring whose common indentation has been taken off (inspect.getdoc)."""
    blocks: list[Block] = []
    for indented, chunk in _chunks(docstring.splitlines()):
        if indented:
            blocks.append(Verbatim(textwrap.dedent("\n".join(chunk)).strip("\n")))
        elif match := SECTION.fullmatch(chunk[0]):
            inside = parse(textwrap.dedent("\n".join(chunk[1:])))
            blocks.append(Section(match[1], inside))
        else:
            blocks += _paragraphs(chunk)
    return blocks


def fields(docstring: str) -> dict[str, str]:
    """Every name that a docstring explains, with its explanation."""
    return {
        name.strip(): text
        for block in parse(docstring)
        if isinstance(block, Fields)
        for names, text in block.rows
        for name in names.split(",")
    }


def rst(blocks: list[Block], *, equation: bool = False) -> list[str]:
    """Lines of reStructuredText; with `equation` the first block is set apart as one."""
    lines: list[str] = []
    for i, block in enumerate(blocks):
        if isinstance(block, Paragraph) and equation and i == 0:
            lines += [".. container:: equation", "", f"   {inline(block.text)}", ""]
        elif isinstance(block, Paragraph):
            lines += [inline(block.text), ""]
        elif isinstance(block, Verbatim):
            lines += [".. code-block:: text", "", *textwrap.indent(block.text, "   ").splitlines()]
            lines += [""]
        elif isinstance(block, Fields):
            lines += definitions(block.rows)
        else:
            inside = rst(block.blocks)
            lines += [f".. rubric:: {block.title}", "", *inside]
    return lines


def definitions(rows: list[tuple[str, str]]) -> list[str]:
    """A definition list, names as code."""
    lines = []
    for name, text in rows:
        lines += [f"``{name}``", f"   {inline(text)}", ""]
    return lines


def inline(text: str) -> str:
    """Prose: code stays code, papers become links, and nothing else is markup."""
    pieces = re.split(r"`([^`]*)`", " ".join(text.split()))
    # What stands first must not be taken for the mark of a list.
    mark = "\\" if re.match(r"(?:\w{1,4}[.)]|[-+•])\s", pieces[0]) else ""
    return mark + "".join(
        _code(piece) if i % 2 else _linked(piece) for i, piece in enumerate(pieces) if piece
    )


def _code(name: str) -> str:
    return f"\\ :doc:`{name} <{PAGES[name]}>`\\ " if name in PAGES else f"\\ ``{name}``\\ "


def _linked(text: str) -> str:
    done, parts = 0, []
    for match in SOURCE.finditer(text):
        arxiv, doi = match[1], match[2]
        url = f"https://arxiv.org/abs/{arxiv}" if arxiv else f"https://doi.org/{doi}"
        label = f"arXiv {arxiv}" if arxiv else doi
        parts += [_escaped(text[done : match.start()]), f"\\ `{label} <{url}>`__\\ "]
        done = match.end()
    return "".join([*parts, _escaped(text[done:])])


def _escaped(text: str) -> str:
    return re.sub(r"([\\*|_])", r"\\\1", text)


def _chunks(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Runs of lines between blank ones; True where all of it is indented. A section holds
    everything below it that is indented, blank lines or not; so does an equation."""
    chunk: list[str] = []
    for i, line in enumerate(lines):
        following = next((later for later in lines[i:] if later.strip()), "")
        deep = following.startswith("    ")
        inside = chunk and (SECTION.fullmatch(chunk[0]) or chunk[0].startswith("    ")) and deep
        if line.strip() or inside:
            if chunk and chunk[0].startswith("    ") and line.strip() and not line[0].isspace():
                yield True, chunk
                chunk = []
            chunk.append(line)
        elif chunk:
            yield chunk[0].startswith("    "), chunk
            chunk = []
    if chunk:
        yield chunk[0].startswith("    "), chunk


def _paragraphs(chunk: list[str]) -> Iterator[Block]:
    """A run of lines that begins at the margin: prose, names, or one after the other."""
    prose: list[str] = []
    rows: list[tuple[str, str]] = []
    for line in chunk:
        match = ALIGNED.fullmatch(line) or (None if prose else COLON.fullmatch(line))
        if match:
            if prose:
                yield Paragraph(" ".join(prose))
                prose = []
            rows.append((match[1], match[2]))
        elif rows and line[0].isspace():
            name, text = rows[-1]
            rows[-1] = name, f"{text} {line.strip()}"
        else:
            if rows:
                yield Fields(rows)
                rows = []
            prose.append(line.strip())
    if rows:
        yield Fields(rows)
    if prose:
        yield Paragraph(" ".join(prose))
