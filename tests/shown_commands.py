"""What pages show to be typed: found, parsed, and run as a reader would who starts with nothing."""

import contextlib
import io
import json
import re
import shlex
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import yaml

from faeval.study.engines import Pool

HERE = Path(__file__).resolve().parent
STUDIES = HERE.parent / "docs" / "studies"

FENCE = re.compile(r"^( *)(`{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.S | re.M)
PROGRAMS = ("faeval", "pip", "pytest", "python", "sphinx-build")
SPAN = re.compile(rf"(?<!`)`((?:{'|'.join(PROGRAMS)})\s[^`]+)`(?!`)")

# The folders that pages speak of without making them, and the study of the docs that is laid there.
SPOKEN_OF = {
    "STUDY": "digit-sums",
    "sums": "digit-sums",
    "A": "digit-sums",
    "B": "cifar10-rules",
    "FIRST": "digit-sums",
    "SECOND": "cifar10-rules",
    "THIRD": "cifar10-penalty-sweep",
} | {plan.parent.name: plan.parent.name for plan in STUDIES.glob("*/plan.json")}


# --- What is shown ---------------------------------------------------------------------


def markdown(path: Path) -> str:
    """A page; a notebook with its cells of code as blocks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    return "\n\n".join(s if kind == "markdown" else f"```python\n{s}\n```" for kind, s in cells)


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of every fenced block; of another directive, its name in braces."""
    return [(_language(block[3]), textwrap.dedent(block[4])) for block in FENCE.finditer(text)]


def blocks_in(text: str, language: str) -> list[str]:
    """The contents of the fenced blocks in this language."""
    return [content for found, content in blocks(text) if found == language]


def _language(info: str) -> str:
    word = info.removeprefix("{code-block}").split()
    return word[0] if word else ""


def typed(text: str) -> list[str]:
    """All that a page shows to be typed, in its order: the lines of shell, the command that is
    named above a study file, and what stands in a line of prose."""
    found, end = [], 0
    for block in FENCE.finditer(text):
        found += _spoken(text[end : block.start()])
        if _language(block[3]) == "sh":
            found += lines(block[4])
        elif _language(block[3]) == "yaml":
            found += re.findall(r"^ *# .*?(faeval .+)", block[4])
        end = block.end()
    return found + _spoken(text[end:])


def lines(shell: str) -> list[str]:
    """The commands of a block of shell, continued lines as one."""
    whole = textwrap.dedent(shell).replace("\\\n", " ")
    parts = [part for line in whole.splitlines() for part in _uncommented(line).split("&&")]
    return [_usage(part.strip()) for part in parts if part.strip()]


def _uncommented(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line)


def _spoken(prose: str) -> list[str]:
    """Commands in prose. The bare name of one that needs more is spoken of: its help is asked."""
    found = []
    for span in SPAN.findall(prose):
        for command in " ".join(span.split()).split(" && "):
            usage = re.sub(r"(\S+?)\|\S+", r"\1", _usage(command)).replace(" N ", " 1 ")
            named = re.fullmatch(r"faeval (?!study|list)\S+", usage)
            found.append(f"{usage} --help" if named else usage)
    return found


def _usage(command: str) -> str:
    """A command of ours with all that [may be left out], brackets and dots taken away."""
    if not command.startswith("faeval "):
        return command
    return " ".join(re.sub(r"[\[\]]|\.\.\.", "", command).split())


def words(command: str) -> list[str]:
    """The arguments of a command."""
    return shlex.split(command)[1:]


def parse(command: str) -> None:
    """Have the command line's own parser take it; raises what the parser raises."""
    from faeval.cli import app

    app.parse_args(words(command), exit_on_error=False, print_error=False)


# Every page by its name; the generated ones are judged by tests/test_site.py.
TEXTS = {
    path.relative_to(HERE.parent).with_suffix("").as_posix().removeprefix("docs/"):
        markdown(path)
    for pattern in ("*.md", "docs/*.md", "docs/notebooks/*.ipynb", "src/**/*.md")
    for path in sorted(HERE.parent.glob(pattern))
}  # fmt: skip


# --- What a reader has, and what he types ----------------------------------------------


def start_with_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, without a terminal; data go to a cache of its own."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FAEVAL_CACHE", str(folder / "cache"))
    for name in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def install(page: str, folder: Path) -> None:
    """The rules that the page's `pyproject.toml` names, in the files of the page, as an installer
    leaves them in `folder`."""
    (project,) = map(tomllib.loads, blocks_in(page, "toml"))
    points = project["project"]["entry-points"]["faeval.rules"]
    for name, where in points.items():
        module = folder / f"{where.partition(':')[0].replace('.', '/')}.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        (source,) = [c for c in blocks_in(page, "python") if f'RULES.register("{name}")' in c]
        module.write_text(source, encoding="utf-8")
    info = folder / "theirs-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(
        "[faeval.rules]\n" + "".join(f"{name} = {where}\n" for name, where in points.items())
    )


def study_file(page: str, name: str) -> str:
    """The study file that is named so in its first line, else the first of the page."""
    files = blocks_in(page, "yaml")
    named = [f for f in files if re.match(rf"#.*\b{re.escape(name)}\b", f)]
    return [*named, *files][0]


def stand_in(folder: Path, name: str, count: int = 64) -> None:
    """A few random images in the files of a data set that is not part of faeval."""
    sys.path.insert(0, str(HERE / "data"))
    import torch
    from hub_files import encode, random_images, write
    from safetensors.torch import save_file

    from faeval.data import hub_images

    folder.mkdir(exist_ok=True)
    sets = [s for s in vars(hub_images).values() if isinstance(s, hub_images.HubImages)]
    source = {s.name: s for s in sets}["cifar10" if name in ("parquet", "tensors") else name]
    channels, *sides = source.shape
    shape = (*sides, channels) if channels > 1 else tuple(sides)
    labels = [n % source.classes for n in range(max(count, source.classes))]
    for seed, split in enumerate(("train", "test")):
        images = random_images(len(labels), seed, shape)
        if name == "tensors":
            x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
            save_file({"x": x, "y": torch.tensor(labels)}, folder / f"{split}.safetensors")
        else:
            inside = folder if name == "parquet" else folder / source.config
            write(inside / f"{split}-00000-of-00001.parquet", [*map(encode, images)], labels)


def lay_out(command: str, page: str) -> str:
    """Lay in this folder what the command needs and does not make, and nothing that is there:
    study files, data, studies. The command, with the names that stand for others filled in."""
    command = command.replace("--data NAME", "--data digit-sums")
    given = words(command)
    for name in given:
        if name.endswith((".yaml", ".yml")):
            Path(name).write_text(study_file(page, name), encoding="utf-8")
    if "DIR" in given and not Path("DIR").exists():
        stand_in(Path("DIR"), data_of(given))
    for name in {word.partition("/")[0] for word in given} & SPOKEN_OF.keys():
        if not Path(name).exists():
            lay_study(name, data_of(given) if "DIR" in given else None)
    if "TRIAL" in command:
        command = command.replace("TRIAL", sorted(Path("STUDY/trials").iterdir())[0].name)
    return command


def data_of(given: list[str]) -> str:
    """The data set that a command names, itself or in its study file."""
    if "--data" in given:
        return given[given.index("--data") + 1]
    (name,) = [word for word in given if word.endswith(".yaml")]
    return yaml.safe_load(Path(name).read_text(encoding="utf-8"))["data"]


def lay_study(name: str, data: str | None) -> None:
    """A study under this name: the one that the page trained on digit-sums, else one of the docs.
    All trials of those are finished, so that a command goes on at once to what it concludes; where
    it reads its data from DIR, these are taken for the data of the study."""
    made = sorted(Path("faeval-studies").glob("digit-sums-*")) if name == "STUDY" else []
    shutil.copytree([*made, STUDIES / SPOKEN_OF[name]][0], name)
    if data is not None:
        from faeval.data import load

        plan = json.loads(Path(name, "plan.json").read_text())
        plan["data_fingerprint"] = load(data, Path("DIR").absolute()).fingerprint
        Path(name, "plan.json").write_text(json.dumps(plan))


def run(command: str, page: str, changes: str = "") -> None:
    """Run a command of the page in this folder and this process, with some flags changed."""
    from faeval.cli import app

    given = words(lay_out(changed(command, changes), page))
    code = app(given, exit_on_error=False, print_error=False, result_action="return_value")
    assert code in (0, None), f"exit code {code}"


@contextlib.contextmanager
def worker_here(workers: int, options: Mapping[str, Any]) -> Iterator[Pool]:
    """A pool without processes, of which each takes 5 s to start and to warm up."""

    def submit(function: Callable[..., Any], *arguments: Any, **named: Any) -> Future:
        done = Future()
        done.set_result(function(*arguments, **named))
        return done

    yield Pool(submit)


def changed(command: str, flags: str) -> str:
    """The command with these flags (`--name value …`), in place of its own of the same name."""
    for name in re.findall(r"--\S+", flags):
        command = re.sub(rf" {name} \S+", "", command)
    return f"{command} {flags}".strip()


# --- The generated pages ---------------------------------------------------------------


SHORT = "--epochs 1 --seeds 42 --penalties 0 --workers 1"


def try_out(folder: str) -> None:
    """Plan the study files that the generated pages show, and run their commands: one seed for one
    epoch, on a few images where the data are not part of faeval. The models on CIFAR-10, which are
    read for minutes, are rehearsed."""
    from faeval.study import engines
    from faeval.study.plan import StudyConfig, plan

    engines._ENGINES["loky"] = (worker_here, ())
    for page in sorted(Path(folder).rglob("*.rst")):
        text = page.read_text(encoding="utf-8")
        found = re.findall(r"\.\. code-block:: (\w+)\n\n((?:   .*\n|\n)+)", text)
        shown = [(language, textwrap.dedent(code).strip()) for language, code in found]
        for language, code in shown:
            if language == "yaml":
                assert plan(StudyConfig.parse(yaml.safe_load(code))).trials, page
            elif language == "bibtex":
                assert code.startswith("@"), page
                assert code.count("{") == code.count("}"), page
            else:  # `text` shows equations
                assert language in ("sh", "text"), page
        fenced = "\n".join(f"```{language}\n{code}\n```" for language, code in shown)
        for command in typed(fenced):
            assert command.startswith("faeval "), page
            shutil.rmtree("DIR", ignore_errors=True)
            with contextlib.redirect_stdout(io.StringIO()):
                on_cifar = command.endswith("study.yaml --data-dir DIR")
                run(command, fenced, "--dry-run" if on_cifar else SHORT)
