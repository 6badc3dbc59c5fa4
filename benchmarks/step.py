"""Time of one training step, as ratios from one run.

    python benchmarks/step.py [--rounds N]

Four programs on the same batch: a plain PyTorch loop that backpropagates with fused AdamW;
faeval's step with BP and with DFA; and nothing but the matrix products of the DFA step. They
take turns in short bursts, so that a drift of the machine meets all of them; each ratio is the
median over bursts of the ratio within a burst, with its quartiles.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from faeval.core.random import generator
from faeval.models import ResMLP
from faeval.rules import BP, DFA, Rule
from faeval.train.adamw import AdamW
from faeval.train.step import step

BATCH, INPUTS, WIDTH, DEPTH, CLASSES = 128, 3072, 256, 4, 10
STEPS_PER_BURST = 20
# All steps see one batch. At a usual learning rate it would be learned by heart within a few
# bursts, and the vanishing errors would slow the products down (denormal numbers).
LEARNING_RATE = 1e-7


class PlainBlock(nn.Module):
    """The published block, written as anyone would."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.w1 = nn.Linear(WIDTH, WIDTH)
        self.w2 = nn.Linear(WIDTH, WIDTH)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.w2(F.gelu(self.w1(self.norm(h))))


def plain_loop(x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(INPUTS, WIDTH),
        *(PlainBlock() for _ in range(DEPTH)),
        nn.LayerNorm(WIDTH),
        nn.Linear(WIDTH, CLASSES),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return run


def faeval_loop(rule: Rule, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    model = ResMLP(width=WIDTH, depth=DEPTH).build(x.shape[1:], CLASSES, generator(0, "weights"))
    feedback = rule.init(model, generator(0, "feedback"))
    optimizer = AdamW(dict(model.named_parameters()), weight_decay=0.01)

    def run() -> None:
        step(model, rule, feedback, optimizer, x, y, learning_rate=LEARNING_RATE)

    return run


def matrix_products() -> Callable[[], None]:
    """Forward products, weight gradients, gradients inside the blocks and the head, credits."""
    shapes = [(INPUTS, WIDTH), *[(WIDTH, WIDTH)] * (2 * DEPTH), (WIDTH, CLASSES)]
    layers = [
        (
            torch.randn(BATCH, inputs),
            torch.randn(outputs, inputs),
            torch.empty(BATCH, outputs),
            torch.randn(BATCH, outputs),
            torch.empty(outputs, inputs),
            torch.empty(BATCH, inputs),
        )
        for inputs, outputs in shapes
    ]
    error, feedback = torch.randn(BATCH, CLASSES), torch.randn(CLASSES, WIDTH)
    credit = torch.empty(BATCH, WIDTH)

    def run() -> None:
        for a, w, out, cotangent, w_grad, a_grad in layers:
            torch.mm(a, w.T, out=out)
            torch.mm(cotangent.T, a, out=w_grad)
            if a.shape[1] != INPUTS:
                torch.mm(cotangent, w, out=a_grad)
        for _ in range(DEPTH + 1):
            torch.mm(error, feedback, out=credit)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="Step time as ratios from one run.")
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, 3, 32, 32, generator=draw)
    y = torch.randint(CLASSES, (BATCH,), generator=draw)
    programs = {
        "plain BP": plain_loop(x, y),
        "faeval BP": faeval_loop(BP(), x, y),
        "faeval DFA": faeval_loop(DFA(), x, y),
        "matrix products": matrix_products(),
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    for round_ in range(-2, rounds):  # two rounds to warm up
        for name, program in programs.items():
            started = time.perf_counter()
            for _ in range(STEPS_PER_BURST):
                program()
            if round_ >= 0:
                times[name].append((time.perf_counter() - started) / STEPS_PER_BURST)
    print(f"batch {BATCH}, d={WIDTH}, L={DEPTH}, one thread, {rounds} bursts of {STEPS_PER_BURST}")
    for name, values in times.items():
        print(f"{name:<16} {1e3 * statistics.median(values):6.2f} ms/step (this machine, now)")
    for name, base in (
        ("faeval DFA", "plain BP"),
        ("faeval BP", "plain BP"),
        ("faeval DFA", "matrix products"),
    ):
        ratios = [a / b for a, b in zip(times[name], times[base], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{name} / {base}: {middle:.2f} (quartiles {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
