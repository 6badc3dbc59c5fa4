"""Small trials that train in well under a second."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from faeval.core.trial import Recipe, Trial
from faeval.study.plan import StudyConfig, plan

PACKAGES = {"loky": "joblib", "dask": "distributed", "ray": "ray"}
ENGINES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            find_spec(package) is None, reason=f"{name} is not installed (extra: {name})"
        ),
    )
    for name, package in PACKAGES.items()
]
"""Every engine; those whose package is absent are skipped."""

MODEL = {"name": "resmlp", "width": 8, "depth": 2}


def config(**keys) -> StudyConfig:
    small = {
        "data": "digits", "model": MODEL, "rules": ["bp", "dfa"], "penalties": [0.0],
        "seeds": [1], "epochs": 2,
    }  # fmt: skip
    return StudyConfig.parse(small | keys)


def trials(**keys) -> list[Trial]:
    return plan(config(**keys)).trials


def unruly_trial(what: str, notes: Path, seed: int = 1) -> Trial:
    """A trial of the rule and the data that the fixture `unruly` installs, read without probes:
    what a new worker imports for them takes longer than the trial."""
    (model,) = {str(t.model): t.model for t in trials()}.values()
    return Trial(
        data="specks",
        model=model,
        rule={"name": "unruly", "scale": 1.0, "what": what, "notes": str(notes)},
        trainable_blocks=2,
        recipe=Recipe(epochs=1, probe_images=0),
        seed=seed,
    )


def checkpoints(out: Path) -> dict[str, bytes]:
    """Checkpoint bytes by trial id."""
    return {
        path.parent.name: path.read_bytes()
        for path in (out / "trials").glob("*/checkpoint.safetensors")
    }


def everything(out: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below `out`, its time of change and its bytes."""
    return {
        str(path.relative_to(out)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in out.rglob("*")
        if path.is_file()
    }
