"""A tiny data set, and a cache folder of each test's own."""

from pathlib import Path

import pytest
from hub_files import TINY

from faeval.data import HubImages


@pytest.fixture
def tiny() -> HubImages:
    return TINY


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FAEVAL_CACHE", str(folder))
    return folder
