"""The one kind of error that a user can mend."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input, told in one line: what was expected, what came, how to mend it.

    The command line prints the line and exits with code 2; anything else that
    escapes is a fault of faeval and keeps its traceback.
    """

    def __init__(self, expected: str, got: str, fix: str) -> None:
        super().__init__(f"expected {expected}, got {got}; {fix}")
        self._parts = (expected, got, fix)

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str]]:
        # An exception is pickled by its args; a worker's error must survive the way home.
        return type(self), self._parts


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among `known`, with the nearest one suggested, or one that
    it abbreviates, as `lr` does `learning_rate`."""
    names = sorted(known)
    abbreviated = [n for n in names if "".join(word[:1] for word in n.split("_")) == name]
    near = difflib.get_close_matches(name, names, n=1) or abbreviated
    listing = ", ".join(names) if names else "none"
    fix = f"did you mean {near[0]!r}? Known: {listing}" if near else f"known: {listing}"
    return InputError(f"a known {kind}", repr(name), fix)
