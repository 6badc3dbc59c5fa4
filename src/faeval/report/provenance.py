"""Where the numbers come from: data, versions, devices, time. Pure."""

from collections.abc import Iterable

from faeval.core.trial import Trial, shortest
from faeval.records.schema import TrialRecord
from faeval.report.material import Material

NOT_RECORDED = "not recorded"


def counts(material: Material) -> str:
    """How much was trained, in a line."""
    records = material.records
    methods, trials = len(material.members), len(records)
    all_seeds = list(dict.fromkeys(str(r.trial.seed) for m in material.members for r in m.records))
    hours = sum(r.seconds for r in records) / 3600
    time = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
    text = (
        f"{methods} method{'s' * (methods != 1)}, {trials} trials with their controls, "
        f"{_noun(all_seeds, 'seed')}, {time} of training"
    )
    if material.tuning:
        text += f", after {len(material.tuning)} trials that chose learning rates"
    return text + (f"; {len(material.missing)} planned trials left no record" if material.missing
                   else "") + "."  # fmt: skip


def provenance(material: Material) -> list[tuple[str, str]]:
    """Terms and what is known of each; what was not recorded says so."""
    records = material.records
    trials = [r.trial for r in records]
    versions = sorted({f"{k} {v}" for r in records for k, v in r.versions.items()})
    return [
        ("data", _one_or_all(f"{r.trial.data}, fingerprint {r.data_fingerprint}"
                             for r in records)),
        ("model", _one_or_all(options(t.model) for t in trials)),
        ("rules", _one_or_all(options(t.rule) for t in trials)),
        ("recipe", _one_or_all(recipe(t) for t in trials)),
        ("labels", _one_or_all(t.labels for t in trials)),
        ("feedback read", _one_or_all(
            "that which trained" if t.reading_feedback == "trained" else "a fresh draw"
            for t in trials)),
        ("seeds", ", ".join(dict.fromkeys(str(t.seed) for t in trials))),
        ("aggregation", "means over seeds; intervals are Student-t over seeds at "
                        f"{100 * material.thresholds.level:g} %, none for a single seed"),
        ("device", _one_or_all(r.device for r in records)),
        ("processor", _one_or_all(_processor(r) for r in records)),
        ("versions", ", ".join(versions) or NOT_RECORDED),
        ("thresholds", ", ".join(f"{k} {v:g}" for k, v in material.thresholds)),
        ("commands", "; ".join(material.commands) or NOT_RECORDED),
        ("again", "the judgement: faeval report STUDY; one trial, read again: "
                  "faeval measure STUDY/trials/NAME"),
    ]  # fmt: skip


def _processor(record: TrialRecord) -> str:
    if record.processor is None:
        return NOT_RECORDED
    threads = f"{record.threads} thread{'s' * (record.threads != 1)}"
    return f"{record.processor}, {threads} per trial"


def options(spec: dict[str, object]) -> str:
    """A configured object in a line: `resmlp depth=4 width=8`."""
    rest = [f"{k}={v}" for k, v in spec.items() if k != "name"]
    return " ".join([str(spec["name"]), *rest])


def recipe(trial: Trial) -> str:
    """How a trial was trained, in a line."""
    r = trial.recipe
    return (
        f"{r.epochs} epochs, batch {r.batch_size}, AdamW, learning rate "
        f"{shortest(r.learning_rate)} falling to 0 along a cosine, weight decay "
        f"{shortest(r.weight_decay)}, credit at {r.credit_at}, "
        f"{'augmented where the data declare it' if r.augment else 'not augmented'}"
    )


def _one_or_all(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _noun(values: list[str], noun: str) -> str:
    return f"{noun}{'s' * (len(values) != 1)} {', '.join(values)}"
