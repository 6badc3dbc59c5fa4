"""The one error that a user can mend."""

import copy
import pickle

import pytest

from faeval.core.errors import InputError, unknown


def test_it_is_one_line_of_three_parts():
    error = InputError("a number", "'x'", "write a number")
    assert str(error) == "expected a number, got 'x'; write a number"
    assert isinstance(error, ValueError)
    assert "\n" not in str(error)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_survives_the_way_home_from_a_worker(protocol):
    error = InputError("a number", "'x'", "write a number")
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is InputError
    assert str(again) == str(error)
    assert str(pickle.loads(pickle.dumps(again))) == str(error)
    assert str(copy.copy(error)) == str(error)


def test_a_subclass_survives_as_itself():
    again = pickle.loads(pickle.dumps(SpecialError("a", "b", "c")))
    assert type(again) is SpecialError
    assert str(again) == "expected a, got b; c"


class SpecialError(InputError):
    pass


def test_an_unknown_name_is_told_with_the_nearest():
    error = unknown("rule", "dfb", ["dfa", "bp"])
    assert str(error) == "expected a known rule, got 'dfb'; did you mean 'dfa'? Known: bp, dfa"
    known = ("learning_rate", "probe_images")
    assert "did you mean 'learning_rate'?" in str(unknown("recipe key", "lr", known))
    assert str(unknown("rule", "q", {"dfa", "bp"})).endswith("got 'q'; known: bp, dfa")
    assert str(unknown("rule", "q", iter(()))).endswith("known: none")
