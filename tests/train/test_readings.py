"""Reading a trained network: the numbers of the record again, and nothing changed by it."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toys import CLASSES, fresh_state, run, stop_at, toy, toy_trial

from faeval.core.errors import InputError
from faeval.core.random import generator
from faeval.data import Batches
from faeval.models import Staged
from faeval.rules import BP, DFA
from faeval.train.loop import accuracy, train_epoch
from faeval.train.read import read, reading_batch
from faeval.train.trial import SavedReading, read_trial


@pytest.mark.parametrize(
    ("rule", "credit_at", "trainable"),
    [("bp", "output", 2), ("dfa", "output", 0), ("dfa", "input", 2)],
)
def test_a_saved_trial_reads_as_its_record(rule, credit_at, trainable, tmp_path):
    trial = toy_trial(rule, credit_at=credit_at, trainable_blocks=trainable)
    record = run(trial, tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    saved = read_trial(tmp_path, data_dir=None, device="cpu")
    assert saved == SavedReading(
        trial, 4, record.layers, record.accuracy, record.score, record.diagnostics
    )
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupted_trial_is_read_as_it_stood_at_its_last_checkpoint(tmp_path, epoch):
    trial = toy_trial()
    run(trial, tmp_path, stop=stop_at(epoch))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    saved = read_trial(tmp_path, data_dir=None, device="cpu")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before

    state, test = fresh_state(trial), Batches(toy(), toy().test)
    for _ in range(epoch):
        train_epoch(state, trial, Batches(toy(), toy().train))
    x, y = reading_batch(test, trial.recipe.reading_images)
    layers = read(
        state.model,
        state.rule,
        state.feedback,
        x,
        y,
        credit_at=trial.recipe.credit_at,
        probe_images=trial.recipe.probe_images,
        seed=trial.seed,
    )
    untrained = fresh_state(trial).model.run(x, y, local=True).states
    layers = [
        dataclasses.replace(r, state_norm_initial=pytest.approx(h.norm(dim=1).mean().item()))
        for r, h in zip(layers, untrained, strict=True)
    ]
    assert saved == SavedReading(trial, epoch, layers, accuracy(state, test), "accuracy", [])
    assert all(r.cosine_mean is not None for r in saved.layers)


def test_a_trial_that_diverged_in_training_has_nothing_to_read(tmp_path):
    assert run(toy_trial(learning_rate=1e30), tmp_path).status == "diverged"
    with pytest.raises(InputError, match=r"a faeval checkpoint at .*, got no such file"):
        read_trial(tmp_path, data_dir=None, device="cpu")


def test_a_trial_that_diverged_in_its_last_step_is_refused(tmp_path):
    trial = toy_trial(epochs=1, batch_size=21, learning_rate=1e38, weight_decay=1e3)
    assert run(trial, tmp_path).status == "diverged"
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert "checkpoint.safetensors" in before
    with pytest.raises(
        InputError, match="finite numbers, got one that diverged in epoch 1 at the loss"
    ):
        read_trial(tmp_path, data_dir=None, device="cpu")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


class Noisy(nn.Module):
    """A block with everything that a reading could disturb: buffers, chance, modes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.5)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(self.linear(h)))


def noisy_model() -> Staged:
    torch.manual_seed(0)
    return Staged(
        nn.Sequential(nn.Flatten(), nn.Linear(32, 6)), [Noisy(6), Noisy(6)], nn.Linear(6, CLASSES),
        state_shapes=[(6,)] * 3, classes=CLASSES,
    )  # fmt: skip


@pytest.mark.parametrize("rule", [BP(), DFA()], ids=["bp", "dfa"])
@pytest.mark.parametrize("mixed", [False, True], ids=["training", "mixed-modes"])
def test_reading_leaves_the_model_as_it_was(rule, mixed):
    model = noisy_model().train()
    if mixed:
        model.blocks[0].eval()
        model.blocks[1].drop.eval()
    model.freeze_blocks(1)
    for p in model.parameters():
        p.grad = torch.full_like(p, 3)
    weights = copy.deepcopy(model.state_dict())
    modes = {name: m.training for name, m in model.named_modules()}
    needs = {name: p.requires_grad for name, p in model.named_parameters()}
    feedback = rule.init(model, generator(0, "feedback"))
    kept = {name: b.clone() for name, b in feedback.items()}
    x, y = reading_batch(Batches(toy(), toy().test), 6)
    inputs, chance = x.clone(), torch.get_rng_state()

    first = read(model, rule, feedback, x, y, credit_at="output")
    assert read(model, rule, feedback, x, y, credit_at="output") == first

    assert torch.equal(torch.get_rng_state(), chance)
    assert torch.equal(x, inputs)
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(b, kept[k]) for k, b in feedback.items())
    assert all((p.grad == 3).all() for p in model.parameters())
    assert {name: p.requires_grad for name, p in model.named_parameters()} == needs
    assert {name: m.training for name, m in model.named_modules()} == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_reading_does_not_disturb_training():
    trial, batches = toy_trial(), Batches(toy(), toy().train)
    disturbed, plain = fresh_state(trial), fresh_state(trial)
    x, y = reading_batch(Batches(toy(), toy().test), 6)
    for _ in range(3):
        read(disturbed.model, disturbed.rule, disturbed.feedback, x, y, credit_at="output")
        for state in (disturbed, plain):
            train_epoch(state, trial, batches)
    pairs = zip(disturbed.model.parameters(), plain.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("credit_at", ["input", "output"])
@pytest.mark.parametrize("trainable", [0, 2])
def test_backpropagation_reads_one_at_every_state(credit_at, trainable):
    """Its credit is the gradient, wherever the recipe has a local rule use its credits."""
    trial = toy_trial("bp", credit_at=credit_at, trainable_blocks=trainable)
    state = fresh_state(trial)
    train_epoch(state, trial, Batches(toy(), toy().train))
    x, y = reading_batch(Batches(toy(), toy().test), 11)
    for r in read(state.model, state.rule, state.feedback, x, y, credit_at=credit_at):
        assert r.cosine_mean == pytest.approx(1, abs=1e-6), r.state
        assert r.credit_norm == pytest.approx(r.reference_norm, rel=1e-5)
        assert r.null is None


@pytest.mark.parametrize("credit_at", ["input", "output"])
def test_readings_equal_a_loop_over_samples(credit_at):
    """Cosines and norms of DFA, from float64 autograd, one sample at a time."""
    trial = toy_trial()
    state = fresh_state(trial)
    train_epoch(state, trial, Batches(toy(), toy().train))
    x, y = reading_batch(Batches(toy(), toy().test), 5)
    readings = read(state.model, state.rule, state.feedback, x, y, credit_at=credit_at)
    exact = copy.deepcopy(state.model).double()
    rows = []
    for sample, label in zip(x.double(), y, strict=True):
        h = exact.stem(sample[None])
        states = [h]
        for block in exact.blocks:
            h = h + block(h)
            states.append(h)
        logits = exact.head(h)
        g = torch.autograd.grad(F.cross_entropy(logits, label[None]), states)
        e = logits.detach()[0].softmax(0) - F.one_hot(label, CLASSES)
        used = [0, 1, 1] if credit_at == "input" else [0, 1, 2]
        a = [state.feedback[f"B{l}"].double() @ e for l in used]
        rows.append(
            [
                [float(u @ v[0] / (u.norm() * v.norm())), float(v.norm()), float(u.norm())]
                for u, v in zip(a, g, strict=True)
            ]
            + [[float(s.detach().norm()) for s in states]]
        )
    for l, r in enumerate(readings):
        cosines, references, credits = zip(*(row[l] for row in rows), strict=True)
        assert r.state == l
        assert r.samples == 5
        assert r.undefined == 0
        assert r.cosine_mean == pytest.approx(sum(cosines) / 5, abs=1e-5)
        assert r.reference_norm == pytest.approx(sum(references) / 5, rel=1e-5)
        assert r.reference_norm_mean_loss == pytest.approx(r.reference_norm / 5)
        assert r.credit_norm == pytest.approx(sum(credits) / 5, rel=1e-5)
        assert r.state_norm == pytest.approx(sum(row[-1][l] for row in rows) / 5, rel=1e-5)
        assert r.reference_relative_error < 1e-5
        assert r.null.std > 0


def test_every_trial_is_read_on_the_same_random_images():
    test = Batches(toy(), toy().test)
    x, y = reading_batch(test, 4)
    again, _ = reading_batch(test, 4)
    assert torch.equal(x, again)
    more, labels = reading_batch(test, 1000)
    assert len(more) == 11
    assert torch.equal(more[:4], x)
    assert torch.equal(labels[:4], y)
    assert not torch.equal(more, test.take(torch.arange(11))[0])
    assert torch.equal(labels.sort().values, toy().test.y.sort().values)


def leaves(value):
    if isinstance(value, dict):
        return [leaf for v in value.values() for leaf in leaves(v)]
    if isinstance(value, tuple | list):
        return [leaf for v in value for leaf in leaves(v)]
    return [value]


def all_finite(reading) -> bool:
    return all(
        type(v) is not float or math.isfinite(v) for v in leaves(dataclasses.asdict(reading))
    )


def test_readings_are_plain_finite_numbers(tmp_path):
    for reading in run(toy_trial(), tmp_path).layers:
        kinds = {type(leaf) for leaf in leaves(dataclasses.asdict(reading))}
        assert kinds <= {int, float, bool, str, type(None)}
        assert all_finite(reading)


def saturated(scale: float) -> tuple[Staged, torch.Tensor, torch.Tensor]:
    """A network that is right about all of its batch, and with a large scale sure of it."""
    model = fresh_state(toy_trial()).model
    with torch.no_grad():
        model.head[1].weight *= scale
    x, _ = reading_batch(Batches(toy(), toy().test), 5)
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize("rule", [BP(), DFA()], ids=["bp", "dfa"])
def test_a_network_without_error_is_read_and_has_no_cosine(rule):
    model, x, y = saturated(1e5)
    assert not model.run(x, y, local=True).error.any()
    feedback = rule.init(model, generator(0, "feedback"))
    for r in read(model, rule, feedback, x, y):
        assert r.undefined == r.samples == 5
        assert r.cosine_mean is None
        assert r.null is None
        assert r.credit_norm == 0
        assert all_finite(r)


@pytest.mark.parametrize("rule", [BP(), DFA()], ids=["bp", "dfa"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 3e38])
def test_a_network_that_left_the_range_is_read_with_nulls(rule, value):
    """Nothing finite is made up, and nothing raises: a reading says how many samples it lost."""
    model, x, y = saturated(1)
    with torch.no_grad():
        model.stem[1].bias[0] = value
    feedback = rule.init(model, generator(0, "feedback"))
    for r in read(model, rule, feedback, x, y):
        assert all_finite(r)
        if not math.isfinite(value):
            assert r.undefined == 5
            assert r.cosine_mean is None
