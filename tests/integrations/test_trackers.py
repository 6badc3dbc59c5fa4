"""What a tracker holds afterwards is what was measured."""

import json
import math

import pytest
import torch
from nets import OPTIONS, Net, images

from faeval import measure
from faeval.integrations.scalars import FIELDS, LEVELS, scalars

pytestmark = pytest.mark.filterwarnings("default")  # the libraries' own are not ours to mend


@pytest.fixture(scope="module")
def measured():
    """By step, the last one where a reading has gaps: one state with credit zero."""
    torch.manual_seed(0)
    net = Net()

    def half(trace):
        first, second = OPTIONS["credits"](trace)
        return [torch.zeros_like(first), second]

    read = {"states": OPTIONS["states"], "batch": images(8)}
    whole = measure(net, credits=OPTIONS["credits"], null="gaussian", **read)
    return {0: whole, 7: measure(net, credits=half, **read)}


def test_scalars_are_the_numbers_of_the_reading(measured):
    found = scalars(measured[0])
    for reading in measured[0].readings:
        for name, field in FIELDS.items():
            assert found[f"faeval/{name}/h{reading.state}"] == getattr(reading, field)
        assert found[f"faeval/null_std/h{reading.state}"] == reading.null.std
    assert len(found) == 2 * (len(FIELDS) + 1) + 1
    assert (
        found["faeval/verdict"]
        == {"trust": 0, "caution": 1, "refuse": 2}[measured[0].verdict.verdict]
    )


def test_what_is_undefined_leaves_a_gap(measured):
    found = scalars(measured[7])
    assert measured[7].readings[0].cosine_mean is None
    assert "faeval/cosine/h0" not in found
    assert "faeval/null_std/h1" not in found
    assert "faeval/cosine/h1" in found
    assert all(math.isfinite(value) for value in found.values())
    assert found["faeval/undefined/h0"] == 8


def test_tensorboard(measured, tmp_path):
    pytest.importorskip("tensorboard", reason="needs faeval[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    from faeval.integrations.tensorboard import write

    with SummaryWriter(tmp_path) as writer:
        for step, m in measured.items():
            write(writer, step, m)
    events = EventAccumulator(str(tmp_path)).Reload()
    found = {
        (event.step, tag): event.value
        for tag in events.Tags()["scalars"]
        for event in events.Scalars(tag)
    }
    told = {(step, tag): v for step, m in measured.items() for tag, v in scalars(m).items()}
    assert found == {key: pytest.approx(v, rel=1e-6) for key, v in told.items()}

    texts = {e.step: e.tensor_proto.string_val[0].decode() for e in events.Tensors(
        "faeval/reading/text_summary"
    )}  # fmt: skip
    for step, m in measured.items():
        assert [line[4:] for line in texts[step].split("\n")] == str(m).split("\n")


def history(run_folder):
    """The rows of an offline run, read from its own file."""
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    (path,) = run_folder.rglob("*.wandb")
    store = DataStore()
    store.open_for_scan(str(path))
    rows = []
    while (data := store.scan_data()) is not None:
        record = Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            rows.append(
                {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
            )
    store.close()
    return rows


def test_wandb_offline(measured, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs faeval[wandb]")
    from faeval.integrations.wandb import write

    for name, value in (("SILENT", "true"), ("ERROR_REPORTING", "false")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    quiet = wandb.Settings(x_disable_stats=True, x_disable_meta=True, console="off")
    with wandb.init(mode="offline", dir=tmp_path, project="test", settings=quiet) as run:
        for step, m in measured.items():
            run.log({"loss": 1.0 + step}, step=step)
            write(run, step, m)
        run.log({"loss": 20.0}, step=20)
        write(run, 9, measured[0])  # late: behind the counter of the run
    wandb.teardown()  # which is when an offline run is on disk in full
    rows = [row for row in history(tmp_path) if "faeval/step" in row]
    assert [row["faeval/step"] for row in rows] == [0, 7, 9]
    assert [row.get("loss") for row in rows][:2] == [1.0, 8.0], "the same row as the loop's own"
    for row, m in zip(rows, [*measured.values(), measured[0]], strict=True):
        numbers = {k: v for k, v in row.items() if k.startswith("faeval/") and k in scalars(m)}
        assert numbers == scalars(m)
        assert row["faeval/verdict_text"] == m.verdict.verdict
        assert LEVELS[row["faeval/verdict_text"]] == row["faeval/verdict"]
        assert row["faeval/because_of"] == ", ".join(m.verdict.reasons)
