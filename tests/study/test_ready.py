"""Ready-made studies on records made by hand: which findings, on what, and the right way round."""

import pytest
from by_hand import reading, record
from small import MODEL

from faeval.study.config import StudyConfig
from faeval.study.plan import plan
from faeval.study.ready import READY
from faeval.study.results import Results


def concluded(name: str, accuracy=lambda trial: 0.5, layers=None, courses=None, **keys):
    ready = READY[name]
    small = {"data": "digits", "model": MODEL, "seeds": [1, 2], "epochs": 1}
    config = ready.complete(StudyConfig.parse({**ready.keys, **small, **keys}))
    planned = plan(config)
    changes = (lambda t: {"layers": layers(t)}) if layers else (lambda t: {})
    records = {t.id: record(t, accuracy(t), **changes(t)) for t in planned.trials}
    course = {t.id: courses(t) for t in planned.trials} if courses else {}
    return ready.conclude(Results(planned, records, course))


def jitter(trial) -> float:
    return trial.seed / 1000


def test_the_depth_ladder_orders_its_rungs():
    """BP gains with every block, DFA loses."""

    def accuracy(trial):
        step = 0.1 if trial.rule["name"] == "bp" else -0.1
        return 0.5 + step * trial.trainable_blocks + jitter(trial)

    findings = concluded("depth-ladder", accuracy)
    assert [(f.method, f.check, f.status) for f in findings] == [
        ("bp", "depth ladder", "pass"), ("dfa", "depth ladder", "flag"),
    ]  # fmt: skip
    assert "best at k=2" in findings[0].evidence
    assert "best at k=0" in findings[1].evidence


def test_the_penalty_sweep_speaks_of_every_rule_once():
    findings = concluded("penalty-sweep", lambda t: 0.5 + jitter(t))
    assert [(f.method, f.check) for f in findings] == [
        ("bp", "penalty sweep"), ("dfa", "penalty sweep"),
    ]  # fmt: skip
    for told in ("λ=0:", "λ=0.0001:", "λ=0.01:", "λ=0.1:"):
        assert told in findings[1].evidence
    # The credit of these records beats chance, and depth is of no use.
    assert findings[1].status == "flag"


def test_fresh_feedback_compares_the_two_readings_of_a_penalty():
    def layers(trial):
        cosine = 0.4 if trial.reading_feedback == "trained" else 0.0
        return [reading(l, cosine + jitter(trial)) for l in range(3)]

    findings = concluded("fresh-feedback", layers=layers)
    assert [f.method for f in findings] == ["dfa", "dfa λ=0.01"]
    assert "h1 +0.40 against +0.00" in findings[0].evidence


def test_early_epochs_reads_the_courses_of_every_seed():
    def course(trial):
        return [(e, [reading(l) for l in range(3)]) for e in range(3)]

    (finding,) = concluded("early-epochs", courses=course)
    assert (finding.method, finding.check, finding.status) == ("dfa", "early epochs", "pass")
    (nothing,) = concluded("early-epochs")
    assert nothing.status == "unmeasured"


@pytest.mark.parametrize("name", ["depth-ladder", "penalty-sweep", "fresh-feedback"])
def test_further_axes_make_further_findings(name):
    some = concluded(name)
    more = concluded(name, labels=["true", "random"])
    assert len(more) == 2 * len(some)
    assert len({f.method for f in more}) == len(more)


def test_the_learning_rate_study_is_tuned():
    assert READY["learning-rate"].keys["tune"]
    assert StudyConfig.parse(READY["learning-rate"].keys).tune is not None
