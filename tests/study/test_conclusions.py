"""What a folder says as a whole is what the command that trained it said."""

import pytest
from by_hand import reading, record
from small import MODEL

from faeval.study.conclusions import conclude
from faeval.study.config import StudyConfig
from faeval.study.grouping import grouped
from faeval.study.plan import plan
from faeval.study.ready import READY
from faeval.study.results import Results
from faeval.study.tuning import tuned
from faeval.verdict.method import Thresholds


def measured(trial):
    """A record that depends on everything that a study varies."""
    recipe = trial.recipe
    accuracy = 0.5 + 0.05 * trial.trainable_blocks + trial.penalty + trial.seed / 1000
    accuracy -= abs(recipe.learning_rate - 1e-3 * (1 + trial.trainable_blocks))
    cosine = 0.4 + trial.penalty if trial.reading_feedback == "trained" else 0.01
    return record(trial, accuracy, layers=[reading(l, cosine + trial.seed / 1e3) for l in range(3)])


def course(trial):
    return [(epoch, [reading(l) for l in range(3)]) for epoch in range(3)]


@pytest.mark.parametrize("name", READY)
@pytest.mark.parametrize("more", [{}, {"labels": ["true", "random"]}], ids=["one", "grid"])
def test_the_findings_of_a_ready_made_study_are_found_again(name, more):
    ready = READY[name]
    small = {"data": "digits", "model": MODEL, "seeds": [1, 2]} | more
    planned = plan(ready.complete(StudyConfig.parse({**ready.keys, **small})))
    records = {t.id: measured(t) for t in planned.trials}
    curves = ()
    if planned.config.tune is not None:
        planned, curves = tuned(planned, records)
        records |= {t.id: measured(t) for t in planned.trials}
    courses = {t.id: course(t) for t in planned.trials} if name == "early-epochs" else {}
    results = Results(planned, records, courses, curves)
    found = conclude(grouped(list(records.values())), list(records.values()), courses, Thresholds())
    told = results.rate_findings() + ready.conclude(results)
    assert told
    # Beside the question that was asked, the records may answer others.
    assert [f for f in found.findings if f.check in {t.check for t in told}] == told
    assert found.curves == curves
    assert {k: list(v) for k, v in found.onsets.items()} == results.onsets()


def test_a_tuned_learning_rate_is_no_part_of_a_name():
    tune = {"learning_rates": [0.001, 0.01], "validation": 0.2}
    keys = {"data": "digits", "model": MODEL, "seeds": [1], "rules": ["dfa"], "tune": tune}
    planned = plan(StudyConfig.parse(keys))
    accuracy = {0.0: 0.01, 0.01: 0.001}  # each penalty has a best rate of its own
    records = {
        t.id: record(t, 0.9 if t.recipe.learning_rate == accuracy[t.penalty] else 0.4)
        for t in planned.trials
    }
    final, _ = tuned(planned, records)
    records |= {t.id: record(t, 0.8) for t in final.trials}
    assert [g.method.name for g in grouped(list(records.values()))] == ["dfa", "dfa λ=0.01"]


def test_an_audit_of_one_method_concludes_nothing_as_a_whole():
    keys = {"data": "digits", "model": MODEL, "seeds": [1], "penalties": [0.0]}
    planned = plan(StudyConfig.parse(keys))
    records = [record(t, 0.6 if t.trainable_blocks else 0.5) for t in planned.trials]
    found = conclude(grouped(records), records, {}, Thresholds())
    assert (found.findings, found.curves, dict(found.onsets)) == ((), (), {})
