"""The shallow control: only the head learns, and as on fixed features."""

import torch
from rule_nets import batch, network

from faeval.models import CNN
from faeval.rules import Shallow
from faeval.train.adamw import AdamW
from faeval.train.read import read
from faeval.train.step import step


def test_the_head_learns_as_a_classifier_on_fixed_features():
    model, twin, (x, y) = network(), network(), batch()
    rule, optimizer = Shallow(), AdamW(dict(model.named_parameters()), weight_decay=0.5)
    with torch.no_grad():
        h = twin.stem(x)
        for block in twin.blocks:
            h = h + block(h)
    alone = AdamW(dict(twin.head.named_parameters()), weight_decay=0.5)
    for _ in range(10):
        step(model, rule, {}, optimizer, x, y, learning_rate=1e-2, penalty=0.3)
        alone.zero_grad()
        torch.nn.functional.cross_entropy(twin.head(h), y).backward()
        alone.step(1e-2)
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        if name.startswith("head"):
            torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6, msg=name)
        else:
            assert torch.equal(p, q), name


def test_the_credit_is_zero_and_read_as_undefined():
    model, (x, y) = network(), batch(24)
    rule = Shallow()
    assert not any(a.any() for a in rule.credit(rule.run(model, {}, x, y), {}))
    for reading in read(model, rule, {}, x, y, probe_images=8):
        assert reading.cosine_mean is None
        assert reading.undefined == reading.zero == 24
        assert reading.null is None
        assert reading.update_cosine is None


def test_running_statistics_follow_the_data_as_in_every_rule():
    model = CNN(width=4, depth=1).build((3, 8, 8), 5, torch.Generator().manual_seed(0))
    x, y = batch(6, (3, 8, 8))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    optimizer = AdamW(dict(model.named_parameters()), weight_decay=0.5)
    step(model, Shallow(), {}, optimizer, x, y, learning_rate=1e-2)
    changed = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert {n.rpartition(".")[2] for n in changed if not n.startswith("head")} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
