"""The command line: parse, call, print, and turn bad input into one line and exit code 2."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter, Token

from faeval._version import __version__
from faeval.core.errors import InputError

# Whatever takes long to import (torch, scipy, rich tables) is imported by the command that
# needs it, so that help is instant.

BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 2, 130, 141

app = App(
    name="faeval",
    version=__version__,
    help="Train networks without backpropagation under identical conditions, read every layer, "
    "and say what can be trusted.",
    suppress_keyboard_interrupt=False,  # it would say nothing; `main` does
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
Formats = Annotated[str | None, Parameter(name="--format")]
DryRun = Annotated[bool, Parameter(negative="")]


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
    engine: str | None = None,
    out: Path | None = None,
    fail_on: str | None = None,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """Train the methods, read every layer, judge.

    The same command again continues an interrupted study; finished trials are not trained
    again. Frozen-blocks controls are planned by themselves.

    Parameters
    ----------
    study
        YAML file with any of these keys (dashes as underscores) and model, labels, tune,
        groups, thresholds …; flags win key by key. Lists make a grid.
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
    engine
        What runs the trials: loky (default), dask or ray; options in the study file.
    out
        Folder of the study. Default: faeval-studies/DATA-HASH, the hash being the plan's.
    fail_on
        caution or refuse: exit with code 3 if the worst verdict is caution, 4 if it is refuse,
        where it is at least this bad. Without it a completed study exits with 0.
    dry_run
        Show the trials, which are finished and how long the rest may take; train nothing.
    json_
        Print one JSON object instead of tables.
    """
    flags = _study_flags(
        data=data, data_dir=data_dir, rules=rules, penalties=penalties, seeds=seeds,
        epochs=epochs, recipe=recipe, workers=workers, device=device, engine=engine, out=out,
    )  # fmt: skip
    from faeval.cli.auditing import run_audit

    return run_audit(study, flags, as_json=json_, fail_on=fail_on, dry_run=dry_run)


@app.command(name="study")
def study_(
    name: str | None = None,
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
    engine: str | None = None,
    out: Path | None = None,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """Run a ready-made study, which ends in its own finding; without a name, list them.

    Flags are those of `faeval audit` and change what the study is asked of.

    Parameters
    ----------
    name
        depth-ladder, penalty-sweep, early-epochs, fresh-feedback or learning-rate.
    study
        YAML file whose keys win over those of the ready-made study.
    data
        Data set: digit-sums (default), digits, cifar10.
    data_dir
        Folder with the parquet files of the data set.
    rules
        Comma-separated rules.
    penalties
        Comma-separated factors λ of the penalty on block outputs.
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
    engine
        What runs the trials: loky (default), dask or ray; options in the study file.
    out
        Folder of the study. Default: faeval-studies/DATA-HASH, the hash being the plan's.
    dry_run
        Show the trials, which are finished and how long the rest may take; train nothing.
    json_
        Print one JSON object instead of tables.
    """
    flags = _study_flags(
        data=data, data_dir=data_dir, rules=rules, penalties=penalties, seeds=seeds,
        epochs=epochs, recipe=recipe, workers=workers, device=device, engine=engine, out=out,
    )  # fmt: skip
    from faeval.cli.studying import run_study

    return run_study(name, study, flags, as_json=json_, dry_run=dry_run)


@app.command
def compare(*studies: Path, json_: Json = False) -> int:
    """Compare studies with the first of them: differences, and verdicts that changed.

    Seeds that both have are compared in pairs; p-values are two-sided and corrected over all
    differences of a pair of studies (q).

    Parameters
    ----------
    studies
        Folders of two or more studies.
    json_
        Print one JSON list instead of tables.
    """
    from faeval.cli.comparing import run_compare

    return run_compare(studies, as_json=json_)


@app.command
def export(study: Path, /, *, to: Path) -> int:
    """Write the records of a study as one table, a row per trial and state.

    Parameters
    ----------
    study
        Folder of the study.
    to
        File to write, NAME.parquet or NAME.csv.
    """
    from faeval.cli.exporting import run_export

    return run_export(study, to)


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


@app.command(name="report")
def report_(study: Path, /, *, out: Path | None = None, format_: Formats = None) -> int:
    """Write a study as one HTML file, and as tables and text for a paper.

    Beside the report: tables.md and appendix.md (the reporting template, filled), tables.tex,
    methods.csv, states.csv and findings.csv, references.bib.

    Parameters
    ----------
    study
        Folder of the study, as faeval audit printed it.
    out
        Folder of all files, or the report's file (.html), the others beside it. Default: STUDY.
    format_
        Comma-separated, of html, md, tex, csv, bib. Default: all.
    """
    from faeval.cli.reporting import FORMATS, run_report

    formats = _numbers_or_names("--format", format_, str)
    return run_report(study, out=out, formats=formats or FORMATS)


@app.command
def plot(study: Path, /, *, out: Path | None = None) -> int:
    """Draw the figures of a study for a paper: PDF and SVG, one and two columns wide.

    Parameters
    ----------
    study
        Folder of the study, as faeval audit printed it.
    out
        Folder of the figures. Default: STUDY/figures.
    """
    from faeval.cli.reporting import run_plot

    return run_plot(study, out=out)


def main() -> None:
    """Entry point of the console script."""
    try:
        code = app(result_action="return_value", exit_on_error=False, print_error=False)
        sys.stdout.flush()  # or a closed pipe would be told at exit
    except InputError as error:
        code = _complain(str(error))
    except CycloptsError as error:
        code = _complain(" ".join(str(error).split()))
    except BrokenPipeError:  # whoever reads has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = BROKEN_PIPE
    except KeyboardInterrupt as stop:
        told = f": {stop}" if str(stop) else ""
        print(f"faeval: interrupted{told}; the same command goes on", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code if isinstance(code, int) else 0)


def _complain(line: str) -> int:
    print(f"faeval: {line}", file=sys.stderr)
    return BAD_INPUT


def _study_flags(**flags: Any) -> dict[str, Any]:
    """The flags that were given, lists parsed."""
    for key, kind in (("rules", str), ("penalties", float), ("seeds", int)):
        flags[key] = _numbers_or_names(f"--{key}", flags[key], kind)
    return {key: value for key, value in flags.items() if value is not None}


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
