"""Two tasks from a generator, with answers that are known: a teacher's labels, a linear map.

Every trial sees the same samples, whatever its seed.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Generator, Tensor

from faeval.core.digest import tensor_digest
from faeval.core.random import generator
from faeval.data.base import DATA, Dataset, Source, Split

TEACHER_INPUTS, TEACHER_WIDTH, TEACHER_DEPTH, TEACHER_GAIN = 10, 64, 2, 2.0
TEACHER_CLASSES, TEACHER_TRAIN, TEACHER_TEST = 10, 20_000, 4_000
LQ_INPUTS, LQ_NOISE, LQ_TRAIN, LQ_TEST = 32, 0.1, 4_000, 1_000


def teacher_student(data_dir: Path | None = None) -> Dataset:
    """20,000 training and 4,000 test samples x ~ N(0, I₁₀) with the labels of a teacher.

    Label = argmax of the logits of a random network that never trains,

        u_0 = x,   u_{k+1} = tanh(g W_k u_k / √d_k),   logits = (V u_K − P x) / s,

    W and V with entries N(0, 1), g = 2, two hidden layers of 64. P x is the linear regression
    of V u_K on x, so that a linear student learns nothing, and s the standard deviation of
    what is left; both are taken over 20,000 samples of their own. So the ten classes are about
    as frequent as each other, and chance is 10 %. `data_dir` is not needed.
    """
    draw = generator(0, "teacher-student/teacher")
    widths = [TEACHER_INPUTS, *[TEACHER_WIDTH] * TEACHER_DEPTH]
    hidden = [
        TEACHER_GAIN * torch.randn(fan_in, fan_out, generator=draw) / fan_in**0.5
        for fan_in, fan_out in pairwise(widths)
    ]
    last = torch.randn(TEACHER_WIDTH, TEACHER_CLASSES, generator=draw)

    def output(x: Tensor) -> Tensor:
        u = x
        for W in hidden:
            u = (u @ W).tanh()
        return u @ last

    x = torch.randn(TEACHER_TRAIN, TEACHER_INPUTS, generator=draw)
    P = torch.linalg.lstsq(x, output(x)).solution
    std = (output(x) - x @ P).std(dim=0)

    def split(samples: int, name: str) -> Split:
        x = _normal(samples, TEACHER_INPUTS, generator(0, f"teacher-student/{name}"))
        return Split(x, ((output(x) - x @ P) / std).argmax(1))

    return _dataset(
        "teacher-student",
        split(TEACHER_TRAIN, "train"),
        split(TEACHER_TEST, "test"),
        TEACHER_CLASSES,
    )


def linear_quadratic(data_dir: Path | None = None) -> Dataset:
    """4,000 training and 1,000 test samples x ~ N(0, I₃₂) with real targets y = M x + ε.

    M = exp(A), A_ij ~ N(0, 1/32): where the flow ḣ = A h leads in unit time, so that a
    residual linear network can reach it in small steps. ε ~ N(0, 0.1² I) keeps the gradient of
    a solved problem above rounding; R² can reach 0.996. `data_dir` is not needed.
    """
    draw = generator(0, "linear-quadratic/map")
    A = torch.randn(LQ_INPUTS, LQ_INPUTS, generator=draw, dtype=torch.float64) / LQ_INPUTS**0.5
    M = torch.linalg.matrix_exp(A)

    def split(samples: int, name: str) -> Split:
        x, noise = _normal(2 * samples, LQ_INPUTS, generator(0, f"linear-quadratic/{name}")).chunk(
            2
        )
        return Split(x, (x.double() @ M.T + LQ_NOISE * noise).float())

    return _dataset("linear-quadratic", split(LQ_TRAIN, "train"), split(LQ_TEST, "test"), LQ_INPUTS)


def _normal(samples: int, features: int, draw: Generator) -> Tensor:
    return torch.randn(samples, features, generator=draw)


def _dataset(name: str, train: Split, test: Split, classes: int) -> Dataset:
    features = train.x.shape[1]
    return Dataset(
        name=name,
        train=train,
        test=test,
        classes=classes,
        fingerprint=tensor_digest(
            {"train.x": train.x, "train.y": train.y, "test.x": test.x, "test.y": test.y}
        ),
        mean=torch.zeros(features),  # of the distribution, not of this sample
        std=torch.ones(features),
    )


DATA.register("teacher-student")(
    Source("labels of a random network on Gaussian inputs (generated)", teacher_student, width=128)
)
DATA.register("linear-quadratic")(
    Source("real targets y = M x + noise on Gaussian inputs, for lq (generated)", linear_quadratic)
)
