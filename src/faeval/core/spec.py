"""Configured objects as plain data: `{"name": "dfa", "scale": 1.0}` and back."""

import dataclasses
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from faeval.core.errors import InputError, unknown
from faeval.core.registry import Registry

# What pydantic calls the branches of a union, between the names of keys.
_BRANCH = re.compile(r"(constrained-|literal\[|list\[|tuple\[|dict\[).*|str|int|float|bool")

T = TypeVar("T")
Spec = dict[str, Any]


def build(registry: Registry[type[T]], spec: str | Mapping[str, Any]) -> T:
    """The configured object that a name, or a mapping with `name` and options, stands for.

    Raises InputError for an unknown name, an unknown option or a value of a wrong kind.
    """
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise InputError(
            f"a {registry.kind} as a name or a mapping with the key 'name'",
            repr(spec),
            f"write for example {{name: {next(iter(registry), 'NAME')}}}",
        )
    cls = registry[name]
    fields = {field.name for field in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
    for option in options:
        if option not in fields:
            raise unknown(f"option of {registry.kind} {name!r}", option, fields)
    try:
        return _adapter(cls).validate_python(options)
    except ValidationError as error:
        raise from_validation(error, f"{registry.kind} {name!r}") from None


@cache
def _adapter(cls: type[T]) -> TypeAdapter[T]:
    # Made anew it takes a millisecond, and a study asks for thousands.
    return TypeAdapter(cls)


def describe(registry: Registry[type[T]], configured: T) -> Spec:
    """The plain data of a configured object, every option spelled out."""
    for name, cls in registry.items():
        if cls is type(configured):
            return {"name": name, **dataclasses.asdict(configured)}  # pyright: ignore[reportArgumentType]
    raise InputError(
        f"a {registry.kind} whose class is registered",
        type(configured).__name__,
        f"register it in the entry-point group {registry.group}",
    )


def label(registry: Registry[type[T]], spec: Spec) -> str:
    """The name, followed by the options that differ from their defaults."""
    fields = dataclasses.fields(registry[spec["name"]])  # pyright: ignore[reportArgumentType]
    plain = {"name": spec["name"], **{field.name: field.default for field in fields}}
    changed = [f"{key}={value}" for key, value in spec.items() if plain.get(key) != value]
    return spec["name"] + (f"({', '.join(changed)})" if changed else "")


def from_validation(error: ValidationError, where: str) -> InputError:
    """One line out of pydantic's report: the first value that is wrong, and where."""
    errors = error.errors()
    # Of the branches of a union, the one that came furthest is what was meant.
    same = [e for e in errors if e["loc"][:1] == errors[0]["loc"][:1]]
    first = max(same, key=lambda e: len(e["loc"]))
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return cause
    path = ".".join(str(part) for part in first["loc"] if not _BRANCH.fullmatch(str(part)))
    name = f"{path!r} of {where}" if path else where
    got = repr(first.get("input"))
    said = re.sub(r"valid dictionary( or (instance|object) .*)?$", "mapping", first["msg"])
    return InputError(
        f"a valid {name} ({said[0].lower()}{said[1:]})",
        got if len(got) <= 80 else got[:77] + "...",
        "correct this value",
    )
