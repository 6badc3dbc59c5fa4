"""Batches against loops that treat one sample at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from faeval.core.random import generator
from faeval.data import Batches, Dataset, Split
from faeval.data.batches import crop_and_mirror


def make(samples: int = 23, *, crop_padding: int = 2, flip: bool = True) -> Dataset:
    x = torch.randint(256, (samples, 3, 5, 4), generator=generator(0, "x"), dtype=torch.uint8)
    split = Split(x, torch.arange(samples))
    return Dataset(
        name="toy", train=split, test=split, classes=samples, fingerprint="0" * 16,
        mean=torch.tensor([0.4, 0.5, 0.6]), std=torch.tensor([0.2, 0.3, 0.25]),
        crop_padding=crop_padding, flip=flip,
    )  # fmt: skip


def batches(**options) -> Batches:
    data = make(**options)
    return Batches(data, data.train)


def join(pairs) -> tuple[Tensor, Tensor]:
    x, y = zip(*pairs, strict=True)
    return torch.cat(x), torch.cat(y)


def literal_crop(image: Tensor, dy: int, dx: int, mirror: int, padding: int) -> Tensor:
    """One pixel after the other, each looked up in the unpadded image."""
    channels, height, width = image.shape
    result = torch.zeros_like(image)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                row, column = i + dy - padding, j + dx - padding
                if 0 <= row < height and 0 <= column < width:
                    result[c, i, j] = image[c, row, width - 1 - column if mirror else column]
    return result


@given(
    shape=st.tuples(*[st.integers(1, 4)] * 4),
    padding=st.integers(0, 3),
    floats=st.booleans(),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_crop_equals_its_literal_twin(shape, padding, floats, seed):
    draw = generator(seed, "test")
    x = torch.randint(1, 256, shape, generator=draw, dtype=torch.uint8)
    x = x.double() if floats else x
    dy, dx = torch.randint(2 * padding + 1, (2, len(x)), generator=draw)
    mirror = torch.randint(2, (len(x),), generator=draw)
    result = crop_and_mirror(x, dy, dx, mirror, padding)
    for n, image in enumerate(x):
        twin = literal_crop(image, int(dy[n]), int(dx[n]), int(mirror[n]), padding)
        assert torch.equal(result[n], twin)


@pytest.mark.parametrize(("padding", "flip"), [(2, True), (2, False), (0, True), (0, False)])
def test_epoch_equals_a_loop_over_samples_with_the_same_draws(padding, flip):
    data = make(crop_padding=padding, flip=flip)
    x, y = join(Batches(data, data.train).epoch(5, generator(1, "order"), generator(1, "augment")))
    order = torch.randperm(23, generator=generator(1, "order"))
    span = 2 * padding + 1
    variants = span**2 * (1 + flip)
    codes = torch.randint(variants, (23,), generator=generator(1, "augment"))
    for n, (sample, code) in enumerate(zip(order.tolist(), codes.tolist(), strict=True)):
        mirror, rest = divmod(code, span**2)
        dy, dx = divmod(rest, span)
        raw = literal_crop(data.train.x[sample], dy, dx, mirror, padding)
        expected = (raw / 255 - data.mean[:, None, None]) / data.std[:, None, None]
        torch.testing.assert_close(x[n], expected, rtol=1e-5, atol=1e-6)
        assert y[n] == data.train.y[sample]


def test_every_variant_is_drawn_about_equally_often():
    data = make(samples=1, crop_padding=1, flip=True)
    x = data.train.x[:1].repeat(9_000, 1, 1, 1)
    many = Split(x, torch.zeros(9_000, dtype=torch.int64))
    ((batch, _),) = Batches(data, many).epoch(9_000, generator(0, "o"), generator(0, "a"))
    _, counts = batch.flatten(1).unique(dim=0, return_counts=True)
    assert len(counts) == 18
    assert 400 < counts.min() < counts.max() < 600  # 500 ± 22


def test_an_epoch_is_every_sample_once_and_keeps_the_smaller_last_batch():
    feed = batches()
    sizes = [len(y) for _, y in feed.epoch(5, generator(0, "order"))]
    assert sizes == [5, 5, 5, 5, 3]
    assert len(sizes) == feed.steps(5)
    assert [feed.steps(size) for size in (1, 22, 23, 24)] == [23, 2, 1, 1]
    _, y = join(feed.epoch(5, generator(0, "order")))
    assert not torch.equal(y, torch.arange(23))
    assert torch.equal(y.sort().values, torch.arange(23))


def test_without_augmentation_an_epoch_shuffles_what_evaluate_yields():
    feed = batches()
    x, y = join(feed.evaluate(4))
    assert x.dtype == torch.float32
    assert torch.equal(y, torch.arange(23))
    shuffled, labels = join(feed.epoch(7, generator(3, "order")))
    assert torch.equal(shuffled, x[labels])
    taken, chosen = feed.take(torch.tensor([5, 0, 5]))
    assert torch.equal(taken, x[[5, 0, 5]])
    assert chosen.tolist() == [5, 0, 5]


def test_the_batch_size_does_not_change_the_epoch():
    feed = batches()
    first = join(feed.epoch(4, generator(0, "order"), generator(0, "augment")))
    second = join(feed.epoch(23, generator(0, "order"), generator(0, "augment")))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_resuming_from_saved_generator_states_is_exact():
    feed = batches()
    order, augment = generator(0, "order"), generator(0, "augment")
    next(feed.epoch(4, order, augment))  # abandoned after one batch: the states do not mind
    states = order.get_state(), augment.get_state()
    x, y = join(feed.epoch(4, order, augment))
    order, augment = torch.Generator().set_state(states[0]), torch.Generator().set_state(states[1])
    again = join(feed.epoch(4, order, augment))
    assert torch.equal(x, again[0])
    assert torch.equal(y, again[1])


def test_an_epoch_draws_one_permutation_and_leaves_global_chance_alone():
    order, twin = generator(0, "order"), generator(0, "order")
    before = torch.get_rng_state()
    batches().epoch(4, order)
    torch.randperm(23, generator=twin)
    assert torch.equal(order.get_state(), twin.get_state())
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_drawn_where_there_is_nothing_to_augment():
    augment = generator(0, "augment")
    join(batches(crop_padding=0, flip=False).epoch(4, generator(0, "order"), augment))
    assert torch.equal(augment.get_state(), generator(0, "augment").get_state())


def test_features_are_standardised_and_the_split_stays_as_it_is():
    x = torch.randn(9, 4, generator=generator(0, "x")) * 3 + 1
    split = Split(x.clone(), torch.zeros(9, dtype=torch.int64))
    std, mean = torch.std_mean(x, 0)
    data = Dataset(
        name="f", train=split, test=split, classes=1, fingerprint="0" * 16,
        mean=mean, std=std, crop_padding=4, flip=True,
    )  # fmt: skip
    feed = Batches(data, split)
    for pairs in (feed.evaluate(4), feed.epoch(4, generator(0, "o"), generator(0, "a"))):
        result, _ = join(pairs)
        ordered = result[result[:, 0].argsort()]
        torch.testing.assert_close(ordered, ((x - mean) / std)[x[:, 0].argsort()])
    assert torch.equal(split.x, x)
