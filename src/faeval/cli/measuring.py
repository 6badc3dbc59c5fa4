"""`faeval measure`: read a saved trial again."""

import json
from dataclasses import asdict
from pathlib import Path

import torch

from faeval.cli.device import resolve_device
from faeval.core import spec
from faeval.report.terminal import console, legend, show_findings, show_probes, show_states
from faeval.report.view import state_rows
from faeval.rules import RULES
from faeval.study.grouping import method_with_claims
from faeval.train.trial import read_trial
from faeval.verdict.checks import own_account
from faeval.verdict.method import Run, Thresholds


def run_measure(folder: Path, *, data_dir: Path | None, device: str, as_json: bool) -> int:
    """Print the readings of the trial in `folder`; the exit code."""
    device = resolve_device(device)
    torch.set_num_threads(1)  # as in training: the same sums in the same order
    saved = read_trial(folder, data_dir=data_dir, device=device)
    trial = saved.trial
    if as_json:
        reading = {
            "id": trial.id,
            "epoch": saved.epoch,
            "epochs": trial.recipe.epochs,
            "accuracy": saved.accuracy,
            "score": saved.score,
            "layers": [asdict(r) for r in saved.layers],
            "diagnostics": [asdict(d) for d in saved.diagnostics],
        }
        print(json.dumps(reading, allow_nan=False))
        return 0
    said = tuple(saved.diagnostics)
    run = Run(trial.seed, saved.accuracy, tuple(saved.layers), diagnostics=said)
    method = method_with_claims(spec.label(RULES, trial.rule), (run,), trial, saved.score)
    thresholds = Thresholds()
    level = thresholds.level
    screen = console()
    title = (
        f"{trial.id}, epoch {saved.epoch} of {trial.recipe.epochs}, "
        f"{saved.score} {saved.accuracy:.3f}"
    )
    show_states(screen, title, state_rows(method, level), level)
    legend(screen, saved.layers[0].samples)
    show_probes(screen, saved.layers)
    if said:
        screen.print()
        show_findings(screen, [own_account(method, thresholds)])
    return 0
