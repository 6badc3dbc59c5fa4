"""Networks that cannot have learned the task: at chance, and never trusted."""

import pytest

from faeval.study.audit import audit
from faeval.study.plan import StudyConfig, plan
from faeval.train.trial import run_trial

KEYS = {
    "data": "digits",
    "model": {"name": "resmlp", "width": 16, "depth": 2},
    "penalties": [0.0],
    "seeds": [1, 2, 3, 4],
    "epochs": 3,
    "recipe": {"reading_images": 64, "probe_images": 16},
}


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Accuracies and verdicts of BP and DFA under some control."""

    def trained(**control):
        planned = plan(StudyConfig.parse(KEYS | control))
        folder = tmp_path_factory.mktemp("trials")
        records = {
            t.id: run_trial(t, folder / t.id, data_dir=None, device="cpu") for t in planned.trials
        }
        judgement = audit(planned, {k: r for k, r in records.items() if r is not None})
        accuracies = {m.name: [run.accuracy for run in m.runs] for m in judgement.methods}
        return accuracies, {v.method: v.verdict for v in judgement.verdicts}

    return trained


@pytest.mark.parametrize(
    "control", [{"labels": "permuted"}, {"labels": "random"}, {"epochs": 0}], ids=str
)
def test_no_better_than_chance_and_never_trusted(train, control):
    accuracies, verdicts = train(**control)
    assert accuracies.keys() == {"bp", "dfa"}
    # What a network says of one class it says of all its images: single seeds spread by 0.05.
    assert all(abs(sum(seeds) / 4 - 0.1) < 0.1 for seeds in accuracies.values())
    assert "trust" not in verdicts.values()


def test_the_same_networks_learn_the_true_labels(train):
    accuracies, _ = train(epochs=6)
    assert all(min(seeds) > 0.5 for seeds in accuracies.values())


def test_fresh_feedback_at_reading_time_leaves_the_training_alone(train):
    accuracies, _ = train(seeds=[1])
    again, _ = train(seeds=[1], reading_feedback="fresh")
    assert again == accuracies
