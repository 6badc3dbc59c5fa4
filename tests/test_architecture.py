"""The arrows between folders, by reading the source; and what an import costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "faeval"
LINES = 350

ALLOWED = {
    "core": set(),
    "models": {"core"},
    "rules": {"core", "models"},
    "stats": {"core"},
    "measurement": {"core", "stats"},
    "data": {"core"},
    "records": {"core"},
    "verdict": {"core", "stats"},
    "train": {"core", "models", "rules", "data", "measurement", "records"},
    # A study that was opened shows itself, as a measured model does: both end in a report.
    "study": {"core", "models", "rules", "data", "train", "records", "verdict", "report"},
    "report": {"core", "verdict", "records", "stats"},
    "probe": {"core", "measurement", "stats", "verdict", "report"},
    "integrations": {"core", "probe", "verdict"},
}
ANYTHING = {"cli", ""}  # the command line and the public list know everybody, nobody knows them
OPEN_TO_ALL = {"_version"}
HEAVY = {"torch", "scipy", "pyarrow", "sklearn"}


def module_name(path: Path) -> str:
    parts = ["faeval", *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def trees(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def statements(tree: ast.AST, *, top_level: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements; with `top_level` only those that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        elif top_level and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from statements(ast.Module([other], []), top_level=True)
        else:
            yield from statements(node, top_level=top_level)


def imported(name: str, *, top_level: bool = False) -> set[str]:
    """Full names of what a module imports: for `from a import b` the module a.b, else a."""
    found = set()
    package = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in statements(trees(name), top_level=top_level):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        parents = package.split(".")
        base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
        source = ".".join(part for part in (base, node.module or "") if part)
        for alias in node.names:
            inner = f"{source}.{alias.name}"
            found.add(inner if inner in FILES else source)
    return found


def folder(name: str) -> str:
    """The folder of a module below faeval; a module beside the folders is its own."""
    return name.split(".")[1] if "." in name else ""


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] == "faeval"}


def test_the_source_is_read():
    assert len(FILES) > 30
    assert "faeval.core.trial" in imported("faeval.train.trial")
    assert "faeval.models.staged" in imported("faeval.train.step")
    assert "torch" in imported("faeval.train.step", top_level=True)


def test_every_folder_has_its_arrows():
    folders = {p.name for p in SOURCE.iterdir() if p.is_dir() and list(p.rglob("*.py"))}
    assert folders - {"cli"} == set(ALLOWED)
    files = {p.stem for p in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert files == OPEN_TO_ALL


@pytest.mark.parametrize("name", FILES)
def test_arrows_point_one_way(name):
    here = folder(name)
    if here in ANYTHING or here == "__main__":
        return
    allowed = ALLOWED.get(here, set()) | {here} | OPEN_TO_ALL
    wrong = {target for target in ours(imported(name)) if folder(target) not in allowed}
    assert not wrong, f"{name} imports {sorted(wrong)}"


def test_no_cycles_between_modules():
    """Of all imports, also those inside functions: a late import hides a cycle, it cuts none."""
    graph = {name: {t for t in ours(imported(name)) if t in FILES} for name in FILES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_no_cycles_between_folders():
    reached = {name: set(targets) for name, targets in ALLOWED.items()}
    for _ in ALLOWED:
        for targets in reached.values():
            targets |= {further for t in targets for further in reached[t]}
    assert not [name for name, targets in reached.items() if name in targets]


@pytest.mark.parametrize("name", FILES)
def test_no_file_is_too_long(name):
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= LINES


def test_the_command_line_imports_nothing_heavy():
    names = imported("faeval.cli", top_level=True)
    assert not {name.split(".")[0] for name in names} & HEAVY
    late = imported("faeval.cli") - names
    assert ours(late), "commands import what they need"


@pytest.mark.parametrize("name", ["faeval", "faeval.cli"])
def test_importing_is_cheap(name):
    code = (
        f"import sys, {name}; found = {HEAVY | {'pandas', 'PIL'}!r} & set(sys.modules); "
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", [n for n in FILES if folder(n) in ("stats", "verdict")])
def test_pure_folders_touch_no_file(name):
    forbidden = {"pathlib", "os", "io", "tempfile", "shutil", "safetensors"}
    assert not {target.split(".")[0] for target in imported(name)} & forbidden
