"""Names for rules, models and data sets; names exist at the CLI and JSON boundary only."""

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from faeval.core.errors import InputError, unknown

T = TypeVar("T")
E = TypeVar("E")


class Registry(Generic[T]):
    """A mapping from names to objects of one kind, open to third parties.

    A package joins by an entry point in the group `faeval.<kind>s`, whose name is
    the object's name; it is loaded on the first look-up that needs it. One that cannot be
    loaded stands in nobody's way: it is in `broken`, and told to whoever asks for its name.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._broken: dict[str, str] = {}
        self._discovered = False

    @property
    def group(self) -> str:
        """The entry-point group by which third parties join."""
        return f"faeval.{self.kind.replace(' ', '_')}s"

    def register(self, name: str) -> Callable[[E], E]:
        """Decorator that enters an object, a T, under `name`; raises InputError on a duplicate.

        The object keeps its own type, so that a registered class is still checked as itself.
        """

        def enter(entry: E) -> E:
            known: dict[str, Any] = self._entries
            if known.get(name, entry) is not entry:
                raise InputError(
                    f"a {self.kind} name that is free", f"{name!r} twice", "rename one of the two"
                )
            known[name] = entry
            return entry

        return enter

    def __getitem__(self, name: str) -> T:
        self._discover()
        try:
            return self._entries[name]
        except KeyError:
            if why := self._broken.get(name):
                raise InputError(
                    f"a {self.kind} {name!r} that can be imported",
                    why,
                    "mend or uninstall the package that brings it",
                ) from None
            raise unknown(self.kind, name, self._entries) from None

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(sorted(self._entries))

    def items(self) -> Iterator[tuple[str, T]]:
        """Names and objects, sorted by name."""
        return ((name, self._entries[name]) for name in self)

    @property
    def broken(self) -> dict[str, str]:
        """Names that other packages bring and cannot keep, each with the error in one line; one
        that is taken is marked as theirs."""
        self._discover()
        return dict(sorted(self._broken.items()))

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        for point in entry_points(group=self.group):
            try:
                self.register(point.name)(point.load())
            except Exception as error:  # whatever another package's code does as it is imported
                taken = point.name in self._entries
                name = f"{point.name} (of another package)" if taken else point.name
                self._broken[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
