"""A Trainer run that is read ends in the bits of one that is not."""

import pytest
import torch
from nets import OPTIONS, Net, assert_same_bits, chance, images, seed_everything
from torch import nn
from torch.nn import functional as F

pytest.importorskip("transformers", reason="needs faeval[transformers]")
pytest.importorskip("accelerate", reason="needs faeval[transformers]")
pytestmark = pytest.mark.filterwarnings("default")  # the library's own are not ours to mend

from transformers import (  # noqa: E402
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
)

from faeval import InputError, every, measure  # noqa: E402
from faeval.integrations.scalars import scalars  # noqa: E402
from faeval.integrations.transformers import Logits, ReadingCallback  # noqa: E402

LAYERS = ["bert.encoder.layer.0", "bert.encoder.layer.1"]


class Wrapped(nn.Module):
    """A plain network in the form that the Trainer asks for."""

    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, x, labels):
        logits = self.net(x)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def bert():
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=20, hidden_size=12, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=16, max_position_embeddings=8, num_labels=3,
        )
    )  # fmt: skip


def sentences(n, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(20, (n, 6), generator=draw), torch.randint(3, (n,), generator=draw)


def rows(x, y, name):
    return [{name: a, "labels": b} for a, b in zip(x, y, strict=True)]


def trained(folder, build, data, callback_of=None):
    seed_everything()
    model = build()
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=6, per_device_train_batch_size=8, use_cpu=True,
        report_to=[], save_strategy="no", logging_steps=2, disable_tqdm=True, learning_rate=1e-2,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=data)
    callback = callback_of(trainer) if callback_of else None
    if callback:
        trainer.add_callback(callback)
    trainer.train()
    return trainer, callback, chance()


def random_credits(trace):
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(h.shape, generator=draw) for h in trace.states]


CASES = {
    "bert": (
        bert, rows(*sentences(48), "input_ids"),
        {"states": LAYERS, "credits": random_credits, "batch": sentences(10, 1)},
    ),
    "batch-norm": (
        Wrapped, rows(*images(48), "x"),
        {"module": lambda model: model.net, "batch": images(10, 1), **OPTIONS},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_training_ends_in_the_same_bits(case, tmp_path, capsys):
    build, data, options = CASES[case]
    plain, _, after = trained(tmp_path, build, data)
    read, callback, same = trained(
        tmp_path, build, data, lambda t: ReadingCallback(t, schedule=every(2), **options)
    )
    assert list(callback.readings) == [0, 2, 4, 6]
    assert after == same
    assert_same_bits(plain.model.state_dict(), read.model.state_dict())

    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (plain, read)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 3, "the trainer's own log comes at the same steps"
    logged = {
        e["step"]: {k: v for k, v in e.items() if k.startswith("faeval/")}
        for e in read.state.log_history
        if "faeval/verdict" in e
    }
    assert logged == {step: scalars(m) for step, m in callback.readings.items()}


def test_it_reads_the_network_of_that_step(tmp_path, capsys):
    build, data, options = CASES["bert"]
    trainer, callback, _ = trained(
        tmp_path, build, data, lambda t: ReadingCallback(t, schedule=every(6), **options)
    )
    seed_everything()
    for step, model in ((0, build()), (6, trainer.model)):
        again = measure(Logits(model), name="BertForSequenceClassification", **options)
        assert callback.readings[step] == again
    assert callback.readings[0].states == tuple(LAYERS)
    assert callback.readings[0] != callback.readings[6]


def test_the_adapter_gives_the_logits_of_the_model():
    model = bert().eval()
    x, _ = sentences(4)
    assert torch.equal(Logits(model)(x), model(input_ids=x).logits)
    named = dict(Logits(model).named_modules())
    assert named == dict(model.named_modules())


def test_bad_input_is_told(tmp_path, capsys):
    _, data, options = CASES["bert"]
    with pytest.raises(TypeError, match="credit"):
        ReadingCallback(None, schedule=every(1), batch=sentences(4), credit=1)
    with pytest.raises(InputError, match="module="):
        Logits(Net())
    with pytest.raises(InputError, match=r"bert\.encoder\.layer\.1"):
        trained(
            tmp_path, bert, data,
            lambda t: ReadingCallback(
                t, schedule=every(1), **(options | {"states": ["bert.encoder.layer.2"]})
            ),
        )  # fmt: skip
