"""What a study of many records costs: listing, judging, comparing, exporting.

    python benchmarks/studies.py [--records N] [--states N]

Synthetic records like those of an audit with every probe (DFA on digit-sums, three seeds for each
method), written to a folder that is removed afterwards; one process, one thread.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from faeval.core.reading import (
    DirectionReading,
    NullReading,
    PrecisionReading,
    ProbeReading,
    Reading,
)
from faeval.core.trial import Recipe, Trial
from faeval.records.export import export
from faeval.records.log import EpochLog
from faeval.records.schema import Epoch, TrialRecord
from faeval.study.compare import finals, grouped, judged, obstacles
from faeval.study.folder import records_of
from faeval.study.forecast import standings
from faeval.verdict.comparison import compare
from faeval.verdict.method import Thresholds

T = TypeVar("T")
SEEDS, EPOCHS = 3, 20


def reading(state: int, states: int) -> Reading:
    x = 0.1 + state / states
    half = [
        PrecisionReading(d, 128, 1e-3, 2e-3, 0, 0, x, x, False) for d in ("bfloat16", "float16")
    ]
    return Reading(
        state=state, samples=1024, undefined=0, zero=0, zero_credit=0, non_finite=0,
        cosine_mean=x, cosine_std=x / 2, cosine_low=x - 0.01, cosine_high=x + 0.01,
        cosine_quantiles=(x / 5, x / 4, x / 3, x / 2, x), cosine_clamped=x, reference_norm=x / 7,
        reference_norm_mean_loss=x / 7000, credit_norm=2.2 + x, state_norm=26.5 * (1 + x),
        credit_ratio=15 + x, sensitivity=3.4 * x, reference_relative_error=1.7e-6 * (1 + x),
        update_cosine=x / 3, precisions=(half[0], *half),
        null=NullReading(0.0, 0.0291 + x / 100, 1e-9, "gaussian-feedback", None, 1024, x),
        direction=DirectionReading(0.4 + x / 9, 0.1, 8, 128),
        probes=ProbeReading(x, x, x, 0.99, 0.95, 0.01, 0.01, -1e-3 * x, -2e-3, 1e-3, 128, 8),
    )  # fmt: skip


def synthetic(count: int, states: int) -> Iterator[TrialRecord]:
    """`count` records: methods of three seeds, with the controls that belong to them."""
    layers = [reading(l, states) for l in range(states)]
    history = [
        Epoch(epoch=e + 1, loss=1 / (e + 1), accuracy=0.5, state_norms=[1.0] * states, seconds=0.2)
        for e in range(EPOCHS)
    ]
    for i in range(count):
        method, seed = divmod(i, SEEDS)
        setting, frozen = divmod(method, 2)
        trial = Trial(
            data="digit-sums", model={"name": "resmlp", "width": 128, "depth": states - 1,
                                      "terminal_norm": True, "residual": True, "w2_std": 0.01},
            rule={"name": "dfa", "scale": 1.0 + setting},
            trainable_blocks=0 if frozen else states - 1, recipe=Recipe(epochs=EPOCHS), seed=seed,
        )  # fmt: skip
        yield TrialRecord(
            trial=trial, status="completed", accuracy=0.5 + seed / 100, layers=layers,
            history=history, data_fingerprint="f00d", device="cpu",
            versions={"python": "3.11", "faeval": "0.1", "torch": "2.13", "numpy": "2.4"},
            seconds=4.0,
        )  # fmt: skip


def timed(what: str, call: Callable[[], T]) -> T:
    started, used = time.perf_counter(), time.process_time()
    result = call()
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    print(f"{what:<10}{wall:6.2f} s, of which {cpu:.2f} s of computing", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--states", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        some = list(synthetic(options.records, options.states))
        for record in some:
            folder = out / "trials" / record.trial.id
            folder.mkdir(parents=True)
            record.save(folder / "record.json")
        log = EpochLog(out / "trials" / some[0].trial.id / "log.jsonl", keep=0)
        for epoch in some[0].history:
            log.append(epoch)
        size = sum(p.stat().st_size for p in out.rglob("record.json")) / 2**20
        print(f"{options.records} records, {size:.0f} MiB")
        trials = [record.trial for record in some]
        del some
        started = time.process_time()
        timed("list", lambda: standings(trials, out))
        records = timed("read", lambda: finals(records_of(out)))
        thresholds = Thresholds()
        first = timed("judge", lambda: judged(grouped(records), thresholds))
        timed(
            "compare",
            lambda: (compare(first, first, thresholds.level), obstacles(records, records)),
        )
        cpu = time.process_time() - started
        print(f"{'together':<10}{cpu:6.2f} s of computing, {len(first.methods)} methods")
        timed("export", lambda: export(records, out / "trials.parquet"))


if __name__ == "__main__":
    main()
