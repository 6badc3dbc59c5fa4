"""Each method at its own best learning rate."""

import pytest
from by_hand import record
from small import config

from faeval.study.plan import plan
from faeval.study.results import Results
from faeval.study.tuning import candidates, tuned

TUNE = {"learning_rates": [0.001, 0.01, 0.1], "validation": 0.25}


def study(**keys):
    return plan(config(**({"rules": ["dfa"], "seeds": [1, 2], "tune": TUNE} | keys)))


def records(planned, accuracy):
    """Records of what chooses the rates, by `accuracy` of each trial."""
    return {t.id: record(t, accuracy(t)) for t in planned.trials}


def peak(own: float, control: float):
    """Accuracy falls with the distance from the best rate of methods and of controls."""

    def accuracy(trial):
        best = control if trial.trainable_blocks == 0 else own
        return 0.8 if trial.recipe.learning_rate == best else 0.4

    return accuracy


def test_rates_are_tried_on_held_out_training_data():
    planned = study()
    assert {t.recipe.validation for t in planned.trials} == {0.25}
    assert {t.recipe.learning_rate for t in planned.trials} == {0.001, 0.01, 0.1}
    assert len(planned.trials) == 3 * 2 * 2


def test_the_final_trials_have_the_best_rates_and_all_the_data():
    planned = study()
    final, (curve,) = tuned(planned, records(planned, peak(0.01, 0.1)))
    (method,) = final.methods
    assert (method.rule, curve.name) == ("dfa", "dfa")
    assert {t.recipe.learning_rate for t in method.trials} == {0.01}
    assert {t.recipe.learning_rate for t in method.controls} == {0.1}
    assert {t.recipe.validation for t in final.trials} == {0.0}
    assert (curve.best, curve.best_control) == (0.01, 0.1)
    assert curve.rates == (0.001, 0.01, 0.1)
    assert curve.accuracies == ({1: 0.4, 2: 0.4}, {1: 0.8, 2: 0.8}, {1: 0.4, 2: 0.4})
    # The final trial of the untuned study is the same trial.
    untuned = plan(config(rules=["dfa"], seeds=[1, 2], recipe={"learning_rate": 0.01}))
    assert {t.id for t in method.trials} == {t.id for t in untuned.methods[0].trials}


def test_a_curve_knows_what_its_trials_are_scored_by():
    planned = study()
    real = {t.id: record(t, 0.5, score="R²") for t in planned.trials}
    assert [curve.score for curve in tuned(planned, real)[1]] == ["R²"]
    assert [curve.score for curve in tuned(planned, {})[1]] == ["accuracy"]


def test_every_final_trial_is_among_the_candidates():
    planned = study(penalties=[0.0, 0.1], epochs=[1, 2])
    claimed = {t.id for t in candidates(planned)}
    for own, control in ((0.001, 0.1), (0.1, 0.01)):
        final, _ = tuned(planned, records(planned, peak(own, control)))
        assert {t.id for t in final.trials} <= claimed
        assert len(final.methods) == 4
    plain = plan(config())
    assert candidates(plain) == plain.trials


def test_a_rate_at_which_a_seed_diverged_is_no_choice():
    planned = study()
    found = records(planned, peak(0.1, 0.1))
    lost = next(t for t in planned.trials if t.recipe.learning_rate == 0.1 and t.trainable_blocks)
    found[lost.id] = record(lost, None, status="diverged", layers=[])
    final, (curve,) = tuned(planned, found)
    assert curve.best == 0.001  # the smallest of the equals that are left
    assert len(final.methods) == 1


def test_a_method_without_any_rate_is_left_out_and_its_curve_says_so():
    planned = study()
    found = {k: r for k, r in records(planned, peak(0.1, 0.1)).items() if r.trial.seed == 1}
    final, (curve,) = tuned(planned, found)
    assert (final.methods, curve.best) == ((), None)
    (finding,) = Results(final, found, curves=(curve,)).rate_findings()
    assert finding.status == "unmeasured"


def test_a_tuned_study_ends_in_its_finding():
    planned = study()
    found = records(planned, peak(0.01, 0.1))
    final, curves = tuned(planned, found)
    found |= {t.id: record(t, 0.7 if t.trainable_blocks else 0.75) for t in final.trials}
    (finding,) = Results(final, found, curves=curves).rate_findings()
    # At 0.01 above, at 0.1 below, at matched tuning below: it depends on the rate.
    assert finding.status == "flag"
    assert "-5.0 pp" in finding.evidence
    assert "below its frozen blocks" in finding.consequence


@pytest.mark.parametrize("rules", [["bp", "dfa"], ["dfa"]])
def test_every_method_of_a_grid_is_tuned_on_its_own(rules):
    planned = study(rules=rules, penalties=[0.0, 0.1], labels=["true", "random"])
    final, curves = tuned(planned, records(planned, peak(0.01, 0.1)))
    assert len(curves) == len(final.methods) == len(rules) * 4
    assert len({c.name for c in curves}) == len(curves)
