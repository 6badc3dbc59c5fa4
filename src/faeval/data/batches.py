"""A split kept on one device, handed out in normalised and augmented batches.

Images stay bytes until a batch is made: a quarter of the memory, and cropping moves
bytes, not floats. Nothing relies on the order of the rows in a file.
"""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from faeval.data.base import Dataset, Split


class Batches:
    """The samples of `split`, normalised by the statistics of `dataset`.

    Every batch is x, float32 (B, C, H, W) or (B, D), with y, int64 (B,) or float32 (B, C), on
    `device`.
    """

    def __init__(self, dataset: Dataset, split: Split, device: torch.device | str = "cpu") -> None:
        image = split.x.dtype == torch.uint8
        unit, broadcast = (255, (-1, 1, 1)) if image else (1, (-1,))
        self._shift = (unit * dataset.mean).view(broadcast).to(device)
        self._scale = (1 / (unit * dataset.std)).view(broadcast).to(device)
        self._x, self._y = split.x.to(device), split.y.to(device)
        self._padding = dataset.crop_padding if image else 0
        self._flip = dataset.flip and image

    def __len__(self) -> int:
        """The number of samples."""
        return len(self._y)

    def steps(self, batch_size: int) -> int:
        """Batches in one epoch, the last and smaller one included."""
        return -(-len(self) // batch_size)

    def epoch(
        self, batch_size: int, order: Generator, augment: Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Every sample once, shuffled, and augmented where `augment` is given.

        Both are CPU generators, and both are drawn from before this returns: `order` for
        one permutation, `augment` for one code per sample. So the state they have between
        epochs, which a checkpoint keeps, does not depend on how far this was iterated.
        """
        # The last batch may be smaller (50,000 = 390·128 + 80). The reference runs keep
        # it: an epoch is then every sample exactly once, at the price of one noisier step.
        samples = torch.randperm(len(self), generator=order).to(self._y.device)
        codes = None
        if augment is not None and (self._padding or self._flip):
            span = 2 * self._padding + 1
            variants = span * span * (2 if self._flip else 1)
            codes = torch.randint(variants, (len(self),), generator=augment).to(self._y.device)
        return self._shuffled(batch_size, samples, codes)

    def evaluate(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every sample once, in the order of the split, never augmented."""
        for start in range(0, len(self), batch_size):
            rows = slice(start, start + batch_size)
            yield self._normalise(self._x[rows]), self._y[rows]

    def take(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The samples at `indices`, int64 (B,), in that order, never augmented."""
        rows = indices.to(self._y.device)
        return self._normalise(self._x.index_select(0, rows)), self._y.index_select(0, rows)

    def _shuffled(
        self, batch_size: int, samples: Tensor, codes: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self), batch_size):
            rows = samples[start : start + batch_size]
            x = self._x.index_select(0, rows)
            if codes is not None:
                x = self._augment(x, codes[start : start + batch_size])
            yield self._normalise(x), self._y.index_select(0, rows)

    def _augment(self, x: Tensor, codes: Tensor) -> Tensor:
        """One of the variants of each image; a code is the mixed-radix number (mirror, dy, dx)."""
        span = 2 * self._padding + 1
        dx, dy, mirror = codes % span, codes // span % span, codes // span**2
        return crop_and_mirror(x, dy, dx, mirror, self._padding)

    def _normalise(self, x: Tensor) -> Tensor:
        return x.to(torch.float32, copy=True).sub_(self._shift).mul_(self._scale)


def crop_and_mirror(x: Tensor, dy: Tensor, dx: Tensor, mirror: Tensor, padding: int) -> Tensor:
    """Image n mirrored left to right where mirror_n = 1, then padded and cut at (dy_n, dx_n).

    x: (B, C, H, W), bytes or floats. dy, dx: int64 (B,) in 0…2·padding, the upper left corner
    in the image with `padding` zero pixels on every side. mirror: int64 (B,), 0 or 1.
    """
    batch, channels, height, width = x.shape
    rows, columns = height + 2 * padding, width + 2 * padding
    # The images and, behind them, their mirrored twins lie in one flat canvas. All its
    # runs of W pixels form an overlapping view, of which each row of the result is one:
    # a single index_select, of whole rows, does crop and mirror.
    canvas = x.new_zeros(2, batch, channels, rows, columns)
    inner = canvas[..., padding : padding + height, padding : padding + width]
    inner[0], inner[1] = x, x.flip(-1)
    image = torch.arange(batch, device=x.device) + mirror * batch
    plane = image[:, None] * channels + torch.arange(channels, device=x.device)
    row = dy[:, None] + torch.arange(height, device=x.device)
    line = plane[:, :, None] * rows + row[:, None, :]
    starts = (line * columns + dx[:, None, None]).flatten()
    return canvas.flatten().unfold(0, width, 1).index_select(0, starts).view(x.shape)
