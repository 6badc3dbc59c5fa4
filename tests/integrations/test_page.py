"""The examples of docs/trainers-and-trackers.md run, where their library is installed."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trainers-and-trackers.md"
EXAMPLES = re.findall(
    r"faeval\[(\w+)\].*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
)
NEEDED = {"lightning": "pytorch_lightning"}


@pytest.mark.filterwarnings("default")  # the libraries' own are not ours to mend
@pytest.mark.parametrize(("extra", "code"), EXAMPLES, ids=[extra for extra, _ in EXAMPLES])
def test_it_runs_and_prints_a_verdict(extra, code, capsys, monkeypatch):
    if find_spec(NEEDED.get(extra, extra)) is None:
        pytest.skip(f"needs faeval[{extra}]")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    with torch.random.fork_rng():
        exec(compile(code, PAGE.name, "exec"), {"__name__": "__main__"})
    assert re.search("caution|refuse", capsys.readouterr().out)


def test_every_integration_has_its_example():
    assert [extra for extra, _ in EXAMPLES] == [
        "lightning", "transformers", "tensorboard", "wandb",
    ]  # fmt: skip
