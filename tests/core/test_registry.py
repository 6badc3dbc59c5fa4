"""The registry: names that are taken, unknown or another package's."""

from dataclasses import dataclass

import pytest

from faeval.core import registry as module
from faeval.core.errors import InputError
from faeval.core.registry import Registry


@dataclass
class Point:
    """What importlib.metadata gives for an entry point, as far as it matters."""

    name: str
    object: object
    loaded: int = 0

    def load(self) -> object:
        self.loaded += 1
        return self.object


@dataclass
class BrokenPoint:
    """An entry point whose module cannot be imported."""

    name: str

    def load(self) -> object:
        raise ModuleNotFoundError("No module\nnamed 'gone'")


@pytest.fixture
def points(monkeypatch) -> dict[str, list[Point]]:
    """Entry points by group; none at first, whatever is installed."""
    groups: dict[str, list[Point]] = {}
    monkeypatch.setattr(module, "entry_points", lambda *, group: groups.get(group, []))
    return groups


def things(**entries: object) -> Registry[object]:
    made: Registry[object] = Registry("thing")
    for name, entry in entries.items():
        made.register(name)(entry)
    return made


def test_what_is_registered_is_found_by_its_name(points):
    made = things(b=2, a=1)
    assert made["a"] == 1
    assert list(made) == ["a", "b"]
    assert list(made.items()) == [("a", 1), ("b", 2)]
    assert "a" in made
    assert "c" not in made


def test_registering_is_a_decorator_that_returns_its_object(points):
    made = things()

    @made.register("one")
    class One:
        pass

    assert made["one"] is One


def test_a_name_is_given_once(points):
    made = things(a=[])
    with pytest.raises(InputError, match="a thing name that is free, got 'a' twice"):
        made.register("a")([])
    same = object()
    made.register("b")(same)
    made.register("b")(same)  # the same object again, as when a module is reloaded
    assert made["b"] is same


@pytest.mark.parametrize("name", ["alpa", "Alpha", "alphas"])
def test_an_unknown_name_raises_with_the_nearest_one(points, name):
    with pytest.raises(InputError, match=f"got '{name}'; did you mean 'alpha'. Known: alpha, beta"):
        things(alpha=1, beta=2)[name]


def test_a_name_like_no_other_raises_with_all_of_them(points):
    with pytest.raises(InputError, match="a known thing, got 'zzz'; known: alpha, beta"):
        things(beta=2, alpha=1)["zzz"]
    with pytest.raises(InputError, match="known: none"):
        things()["a"]


def test_other_packages_join_by_entry_point(points):
    theirs = Point("theirs", object())
    points["faeval.things"] = [theirs]
    made = things(ours=1)
    assert theirs.loaded == 0  # not before somebody asks
    assert made["theirs"] is theirs.object
    assert list(made) == ["ours", "theirs"]
    assert made["ours"] == 1
    assert theirs.loaded == 1


def test_a_kind_of_two_words_has_a_group_without_a_blank(points):
    points["faeval.data_sets"] = [Point("theirs", 1)]
    points["faeval.data sets"] = [Point("wrong", 2)]
    assert list(Registry("data set")) == ["theirs"]


def test_another_package_cannot_take_a_name_of_ours_nor_stand_in_the_way_of_others(points):
    """A bug: every command ended with the error, whatever rule it named."""
    points["faeval.things"] = [Point("ours", object()), Point("others", 7)]
    made = things(ours=1)
    assert dict(made.items()) == {"ours": 1, "others": 7}
    ((name, why),) = made.broken.items()
    assert name == "ours (of another package)"
    assert "a thing name that is free, got 'ours' twice" in why


def test_every_kind_of_look_up_sees_other_packages(points):
    points["faeval.things"] = [Point("theirs", 7)]
    assert "theirs" in things()
    assert dict(things().items()) == {"theirs": 7}
    with pytest.raises(InputError, match="did you mean 'theirs'"):
        things()["theirz"]


def test_a_broken_package_is_told_to_whoever_asks_for_it_and_to_nobody_else(points):
    points["faeval.things"] = [BrokenPoint("theirs"), Point("others", 7)]
    made = things(ours=1)
    assert dict(made.items()) == {"ours": 1, "others": 7}
    assert made.broken == {"theirs": "ModuleNotFoundError: No module named 'gone'"}
    with pytest.raises(InputError, match="'theirs' that can be imported, got ModuleNotFound"):
        made["theirs"]
    with pytest.raises(InputError, match="known: others, ours"):
        made["zzz"]
