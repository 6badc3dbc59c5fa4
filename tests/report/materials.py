"""Studies made by hand as a report takes them: records, judged."""

from collections.abc import Sequence
from pathlib import Path

from studies import run

from faeval.core.reading import Reading
from faeval.core.trial import Recipe, Trial
from faeval.records.schema import Divergence, Epoch, TrialRecord
from faeval.report.material import Material, Member, RuleFacts
from faeval.study.conclusions import conclude
from faeval.study.grouping import grouped
from faeval.verdict.judge import judge_all
from faeval.verdict.method import Thresholds

GROWN = [10.0, 700.0, 800.0, 900.0, 1000.0]
CALM = [10.0, 20.0, 30.0, 40.0, 50.0]


def record(
    seed: int,
    *,
    rule: str = "dfa",
    penalty: float = 0.0,
    trainable: int = 4,
    accuracy: float = 0.7,
    diverged: bool = False,
    rate: float = 5e-3,
    validation: float = 0.0,
) -> TrialRecord:
    spec = {"name": rule} | ({"scale": 1.0} if rule == "dfa" else {})
    trial = Trial(
        data="digits",
        model={"name": "resmlp", "depth": 4, "width": 8},
        rule=spec,
        penalty=penalty,
        trainable_blocks=trainable,
        recipe=Recipe(epochs=2, learning_rate=rate, validation=validation),
        seed=seed,
    )
    exact = {"cosine_mean": 1.0, "cosine_clamped": 1.0, "null": None} if rule == "bp" else {}
    return TrialRecord(
        trial=trial,
        status="diverged" if diverged else "completed",
        accuracy=None if diverged else accuracy + 0.01 * (seed % 7),
        divergence=Divergence(epoch=2, layer=3) if diverged else None,
        layers=[] if diverged else list(run(seed, **exact).layers),
        history=[
            Epoch(epoch=e, loss=1.0, accuracy=0.5, state_norms=norms, seconds=1.0)
            for e, norms in ((1, CALM), (2, GROWN if rule == "dfa" and not penalty else CALM))
        ],
        data_fingerprint="f00d",
        device="cpu",
        versions={"faeval": "0.1.0"},
        seconds=1.0,
    )


def sweep() -> list[TrialRecord]:
    """Two rules, two penalties, two seeds, controls, and one rung of a depth ladder."""
    seeds = (1, 2)
    full = [
        record(s, rule=r, penalty=p, accuracy=0.6 + 10 * p)
        for r in ("bp", "dfa")
        for p in (0.0, 0.01)
        for s in seeds
    ]
    controls = [record(s, rule=r, trainable=0, accuracy=0.5) for r in ("bp", "dfa") for s in seeds]
    return [*full, *controls, *(record(s, trainable=2, accuracy=0.55) for s in seeds)]


def tuned() -> list[TrialRecord]:
    """One rule at the better of two learning rates, which held-out data chose; so its control."""
    seeds, rates = (1, 2), (1e-3, 5e-3)
    tried = [
        record(s, rule=r, trainable=k, rate=rate, validation=0.1, accuracy=a + 10 * rate)
        for rate in rates
        for r, k, a in (("dfa", 4, 0.6), ("bp", 0, 0.5))
        for s in seeds
    ]
    final = [record(s, rate=5e-3) for s in seeds]
    return [*tried, *final, *(record(s, rule="bp", trainable=0, rate=5e-3) for s in seeds)]


def courses(records: Sequence[TrialRecord]) -> dict:
    """Three readings of every trial in training; at the last, one state has outgrown the others."""
    calm, grown = {"state_norm": 10.0}, {"state_norm": 1e7}

    def read(seed: int, epoch: int) -> list[Reading]:
        layers = list(run(seed, **calm).layers)
        return [*layers[:2], *run(seed, **grown).layers[2:]] if epoch == 2 else layers

    return {r.trial.id: [(e, read(r.trial.seed, e)) for e in range(3)] for r in records}


def material(records: Sequence[TrialRecord], **changes) -> Material:
    groups = grouped(records)
    judgement = judge_all([g.method for g in groups], Thresholds())
    members = tuple(
        Member(g.method, verdict, g.plain, g.records, g.controls, g.partial)
        for g, verdict in zip(groups, judgement.verdicts, strict=True)
    )
    courses = changes.get("courses", {})
    whole = conclude(groups, records, courses, Thresholds())
    facts = RuleFacts("a_l = e_T B_lᵀ", "block", "fixed", "nothing")
    return Material(
        **{
            "title": "digits · <resmlp> & co",
            "judgement": judgement,
            "thresholds": Thresholds(),
            "members": members,
            "tuning": tuple(r for r in records if r.trial.recipe.validation),
            "courses": {},
            "rules": {str(r.trial.rule["name"]): facts for r in records},
            "missing": ("dfa-0-s9-00000000",),
            "recipe": None,
            "conclusions": whole.findings,
            "curves": whole.curves,
            "onsets": whole.onsets,
        }
        | changes
    )


def write(records: Sequence[TrialRecord], folder: Path) -> Path:
    """The folder of a study that left these records."""
    for one in records:
        place = folder / "trials" / one.trial.id
        place.mkdir(parents=True)
        one.save(place / "record.json")
    return folder
