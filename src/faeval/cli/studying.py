"""`faeval study`: ready-made studies, each of which ends in its own finding."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faeval.cli.auditing import run_audit
from faeval.core.errors import unknown
from faeval.report.terminal import console
from faeval.study.ready import READY


def run_study(
    name: str | None,
    study: Path | None,
    flags: Mapping[str, Any],
    *,
    as_json: bool,
    dry_run: bool,
) -> int:
    """Run the study of this name, or list them all; the exit code."""
    if name is None:
        screen = console()
        width = max(map(len, READY))
        for key, ready in READY.items():
            screen.print(f"{key:<{width}}  {ready.question}", soft_wrap=True)
        return 0
    if name not in READY:
        raise unknown("ready-made study", name, READY)
    return run_audit(
        study, flags, as_json=as_json, fail_on=None, dry_run=dry_run, ready=READY[name]
    )
