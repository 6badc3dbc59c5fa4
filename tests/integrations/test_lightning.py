"""A Lightning run that is read ends in the bits of one that is not."""

import csv
from importlib import import_module
from pathlib import Path

import pytest
import torch
from nets import OPTIONS, Net, assert_same_bits, chance, images, seed_everything
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("pytorch_lightning", reason="needs faeval[lightning]")
pytestmark = pytest.mark.filterwarnings("default")  # the library's own are not ours to mend

import pytorch_lightning as pl  # noqa: E402

from faeval import InputError, every, logarithmic, measure  # noqa: E402
from faeval.integrations.lightning import ReadingCallback  # noqa: E402
from faeval.integrations.scalars import scalars  # noqa: E402


def network(library=pl):
    class Model(library.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = Net()
            self.losses = []

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            x, y = batch
            loss = F.cross_entropy(self.net(x), y)
            self.losses.append(loss.item())
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

    return Model()


def fit(folder, *callbacks, batches=6, accumulate=1, library=pl):
    """The trained network, every global random state after training, and the logger."""
    seed_everything()
    model = network(library)
    loader = DataLoader(TensorDataset(*images(8 * batches)), batch_size=8, shuffle=True)
    logger = import_module(f"{library.__name__}.loggers").CSVLogger(folder)
    library.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=logger,
        callbacks=list(callbacks),
        accumulate_grad_batches=accumulate,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    ).fit(model, loader)
    return model, chance(), logger


PREFIXED = OPTIONS | {"states": [f"net.{name}" for name in OPTIONS["states"]]}


def test_training_ends_in_the_same_bits(tmp_path):
    plain, after, _ = fit(tmp_path / "plain")
    callback = ReadingCallback(schedule=every(2), batch=images(12, seed=1), **PREFIXED)
    read, same, _ = fit(tmp_path / "read", callback)
    assert list(callback.readings) == [0, 2, 4, 6]
    assert after == same
    assert plain.losses == read.losses
    assert_same_bits(plain.state_dict(), read.state_dict())
    assert plain.training == read.training


def test_it_reads_the_network_of_that_step(tmp_path):
    batch = images(12, seed=1)
    callback = ReadingCallback(schedule=logarithmic(), batch=batch, **PREFIXED)
    model, _, _ = fit(tmp_path, callback, batches=4)
    assert list(callback.readings) == [0, 1, 2, 4]
    seed_everything()
    assert callback.readings[0].readings == measure(network(), batch=batch, **PREFIXED).readings
    assert callback.readings[4].readings == measure(model, batch=batch, **PREFIXED).readings


def test_each_update_is_read_once_however_many_batches_it_takes(tmp_path):
    callback = ReadingCallback(schedule=every(1), **PREFIXED)
    fit(tmp_path, callback, batches=4, accumulate=2)
    assert list(callback.readings) == [0, 1, 2]
    assert {m.readings[0].samples for m in callback.readings.values()} == {8}


def test_batch_and_module_may_be_functions(tmp_path):
    callback = ReadingCallback(
        schedule=lambda step: step == 3,
        batch=lambda batch: (batch[0][:5], batch[1][:5]),
        module=lambda model: model.net,
        **OPTIONS,
    )
    fit(tmp_path, callback, batches=4)
    (measured,) = callback.readings.values()
    assert measured.states == ("conv", "hidden")
    assert measured.readings[0].samples == 5


def test_readings_reach_the_logger(tmp_path):
    callback = ReadingCallback(schedule=every(3), batch=images(12), **PREFIXED)
    _, _, logger = fit(tmp_path, callback)
    text = Path(logger.log_dir, "metrics.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    logged = {}
    for row in rows:
        found = {k: float(v) for k, v in row.items() if v and k.startswith("faeval/")}
        if found:
            logged[int(row["step"])] = found
    assert logged == {s: pytest.approx(scalars(m)) for s, m in callback.readings.items()}
    assert logged[3]["faeval/cosine/h1"] == callback.readings[3].readings[1].cosine_mean


def test_bad_options_are_told_before_training():
    with pytest.raises(TypeError, match="credit"):
        ReadingCallback(schedule=every(1), credit=1)


def test_a_batch_that_is_no_pair_is_told(tmp_path):
    callback = ReadingCallback(schedule=every(1), batch=lambda batch: {"x": batch[0]}, **PREFIXED)
    with pytest.raises(InputError, match="a batch"):
        fit(tmp_path, callback)
    callback = ReadingCallback(schedule=every(1), **(PREFIXED | {"states": ["net.cnv"]}))
    with pytest.raises(InputError, match=r"net\.conv"):
        fit(tmp_path, callback)


def test_the_package_lightning_takes_it_too(tmp_path):
    """It has a Trainer and a Callback of its own, which are not those of `pytorch_lightning`."""
    other = pytest.importorskip("lightning.pytorch", reason="needs the package lightning")
    callback = ReadingCallback(schedule=every(3), batch=images(12, seed=1), **PREFIXED)
    plain, after, _ = fit(tmp_path / "plain", library=other)
    read, same, _ = fit(tmp_path / "read", callback, library=other)
    assert list(callback.readings) == [0, 3, 6]
    assert after == same
    assert_same_bits(plain.state_dict(), read.state_dict())
