"""The command lines that pages show, and what can be said of them without running them."""

import contextlib
import io
import re
import shlex
import textwrap
from pathlib import Path

import yaml

BLOCK = re.compile(r"^( *)(`{3,})(?:\{code-block\} )?sh\n(.*?)^\1\2", re.S | re.M)
SPAN = re.compile(r"(?<!`)`(faeval [^`]+)`(?!`)")


def of_markdown(text: str) -> list[str]:
    """Every `faeval …` in a block of shell, and in a line of prose without its [brackets]."""
    found = [line for block in BLOCK.finditer(text) for line in lines(block[3])]
    for span in SPAN.findall(text):
        usage = re.sub(r"[\[\]]|\.\.\.", "", " ".join(span.split()))
        named = re.fullmatch(r"faeval \S+", usage)  # a command is spoken of
        usage = re.sub(r"(\S+?)\|\S+", r"\1", usage).replace(" N ", " 1 ")
        found.append(f"{usage} --help" if named else usage)
    return found


def lines(shell: str) -> list[str]:
    """The commands of a block that are faeval's, continued lines as one."""
    whole = textwrap.dedent(shell).replace("\\\n", " ")
    commands = [part.strip() for line in whole.splitlines() for part in line.split("&&")]
    return [re.sub(r"\[.*?\]", "", c) for c in commands if c.startswith("faeval ")]


def words(command: str) -> list[str]:
    """The arguments of a command, without the comment behind it."""
    return shlex.split(command, comments=True)[1:]


def parse(command: str) -> None:
    """Have the command line's own parser take it; raises what the parser raises."""
    from faeval.cli import app

    app.parse_args(words(command), exit_on_error=False, print_error=False)


def rehearse(folder: str) -> None:
    """Plan the study files that the generated pages show, parse their commands, and rehearse
    (`--dry-run`) those that need no files: there a model is built and feedback is drawn."""
    from faeval.cli import app
    from faeval.study.plan import StudyConfig, plan

    for page in sorted(Path(folder).rglob("*.rst")):
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"\.\. code-block:: (\w+)\n\n((?:   .*\n|\n)+)", text)
        shown = {language: textwrap.dedent(code) for language, code in blocks}
        if "yaml" in shown:
            Path("study.yaml").write_text(shown["yaml"], encoding="utf-8")
            assert plan(StudyConfig.parse(yaml.safe_load(shown["yaml"]))).trials
        for command in lines(shown.get("sh", "")):
            parse(command)
            if "DIR" not in command:
                with contextlib.redirect_stdout(io.StringIO()):
                    app([*words(command), "--dry-run"], result_action="return_value")
