"""Every test here may name the toy data set."""

import pytest
from toys import NAME, SOURCE, registered

from faeval.data import DATA


@pytest.fixture(autouse=True)
def toy_data():
    with registered(DATA, NAME, SOURCE):
        yield
