"""The command line: parse, call, print, and turn bad input into one line and exit code 2."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter, Token

from faeval._version import __version__
from faeval.core.errors import InputError

# Whatever takes long to import (torch, scipy, rich tables) is imported by the command that
# needs it, so that help is instant.

BAD_INPUT, INTERRUPTED = 2, 130

app = App(
    name="faeval",
    version=__version__,
    help="Train networks without backpropagation under identical conditions, read every layer, "
    "and say what can be trusted.",
)


def _whole_number(kind: type, tokens: Sequence[Token]) -> int:
    """cyclopts would take 1.5 for 1."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise InputError(
            f"a whole number for {tokens[0].keyword}", repr(tokens[0].value), "write for example 10"
        ) from None


Whole = Annotated[int, Parameter(converter=_whole_number)]
Json = Annotated[bool, Parameter(name="--json", negative="")]


@app.command
def audit(
    study: Path | None = None,
    /,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    rules: str | None = None,
    penalties: str | None = None,
    seeds: str | None = None,
    epochs: Whole | None = None,
    recipe: str | None = None,
    workers: Whole | None = None,
    device: str | None = None,
    out: Path | None = None,
    fail_on: str | None = None,
    json_: Json = False,
) -> int:
    """Train the methods, read every layer, judge.

    The same command again continues an interrupted study; finished trials are not trained
    again. Frozen-blocks controls are planned by themselves.

    Parameters
    ----------
    study
        YAML file with any of these keys (dashes as underscores) and model, thresholds;
        flags win key by key.
    data
        Data set: digit-sums (default), digits, cifar10.
    data_dir
        Folder with the parquet files of the data set.
    rules
        Comma-separated rules. Default: bp,dfa.
    penalties
        Comma-separated factors λ of the penalty on block outputs. Default: 0,0.01.
    seeds
        Comma-separated seeds. Default: 42,123,456.
    epochs
        Passes over the training data, instead of the recipe's.
    recipe
        How networks are trained: default, published.
    workers
        Trials trained side by side, one thread each. Default: the number of cores.
    device
        auto, cpu or cuda.
    out
        Folder of the study. Default: faeval-studies/DATA-HASH, the hash being the plan's.
    fail_on
        caution or refuse: exit with code 3 if the worst verdict is caution, 4 if it is refuse,
        where it is at least this bad. Without it a completed study exits with 0.
    json_
        Print one JSON object instead of tables.
    """
    flags = {
        "data": data,
        "data_dir": data_dir,
        "rules": _numbers_or_names("--rules", rules, str),
        "penalties": _numbers_or_names("--penalties", penalties, float),
        "seeds": _numbers_or_names("--seeds", seeds, int),
        "epochs": epochs,
        "recipe": recipe,
        "workers": workers,
        "device": device,
        "out": out,
    }
    from faeval.cli.auditing import run_audit

    given = {key: value for key, value in flags.items() if value is not None}
    return run_audit(study, given, as_json=json_, fail_on=fail_on)


@app.command
def measure(
    trial: Path,
    /,
    *,
    data_dir: Path | None = None,
    device: str = "auto",
    json_: Json = False,
) -> int:
    """Read a saved trial again, without training.

    Parameters
    ----------
    trial
        Folder of the trial, STUDY/trials/NAME.
    data_dir
        Folder with the parquet files of the data set.
    device
        auto, cpu or cuda.
    json_
        Print one JSON object instead of a table.
    """
    from faeval.cli.measuring import run_measure

    return run_measure(trial, data_dir=data_dir, device=device, as_json=json_)


@app.command(name="list")
def list_(
    kind: str | None = None,
    /,
    *,
    json_: Json = False,
) -> int:
    """List rules, models, data sets or recipes.

    Parameters
    ----------
    kind
        rules, models, data or recipes; all of them by default.
    json_
        Print one JSON object instead of tables.
    """
    from faeval.cli.listing import run_list

    return run_list(kind, as_json=json_)


def main() -> None:
    """Entry point of the console script."""
    try:
        code = app(result_action="return_value", exit_on_error=False, print_error=False)
    except InputError as error:
        code = _complain(str(error))
    except CycloptsError as error:
        code = _complain(" ".join(str(error).split()))
    except KeyboardInterrupt:
        print("faeval: interrupted; the same command continues", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code if isinstance(code, int) else 0)


def _complain(line: str) -> int:
    print(f"faeval: {line}", file=sys.stderr)
    return BAD_INPUT


def _numbers_or_names(flag: str, value: str | None, kind: Callable[[str], Any]) -> list[Any] | None:
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if "" in parts:
        raise InputError(
            f"values separated by commas for {flag}", repr(value), "remove the empty places"
        )
    try:
        return [kind(part) for part in parts]
    except ValueError:
        noun = {int: "whole numbers", float: "numbers"}[kind]
        raise InputError(
            f"{noun} separated by commas for {flag}", repr(value), f"write for example {flag} 1,2"
        ) from None
