"""What a study command was given: a study file and flags, the flags winning key by key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faeval.core.errors import InputError, unknown
from faeval.core.spec import from_validation
from faeval.study.config import StudyConfig


class Execution(BaseModel):
    """The keys that say where and how a study runs; they do not change what it is.

    engine   what runs the trials: its name, or a mapping with `name` and its options
    retries  how often a trial is run again whose worker died or that ran out of memory
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path | None = None
    workers: Annotated[int, Field(ge=1, strict=True)] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engine: str | dict[str, Any] = "loky"
    retries: Annotated[int, Field(ge=0, strict=True)] = 1
    out: Path | None = None


def read_keys(
    study: Path | None, flags: Mapping[str, Any], presets: Mapping[str, Any]
) -> tuple[Execution, StudyConfig]:
    """Execution and study from `presets`, over them the file, over it the flags."""
    keys = dict(presets) | (_read_yaml(study) if study else {}) | dict(flags)
    known = [*Execution.model_fields, *StudyConfig.model_fields]
    for key in keys:
        if key not in known:
            raise unknown("study key", str(key), known)
    where = {key: value for key, value in keys.items() if key in Execution.model_fields}
    what = {key: value for key, value in keys.items() if key not in where}
    try:
        return Execution.model_validate(where), StudyConfig.parse(what)
    except ValidationError as error:
        raise from_validation(error, "the study") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        keys = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(
            "a study file that can be read", f"{path} ({error.strerror})", "check the path"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"YAML in {path}", " ".join(str(error).split()), "mend the syntax"
        ) from None
    if not isinstance(keys, dict):
        raise InputError(
            f"a mapping of keys in {path}", type(keys).__name__, "write for example: seeds: [1, 2]"
        )
    return keys
