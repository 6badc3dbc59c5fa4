"""The JSON of a study: the promised keys, the very numbers, and nothing that is no JSON."""

import json
from dataclasses import asdict

import pytest
from studies import STUDIES, judged, method, records, run, trial

from faeval.core.trial import Trial
from faeval.report.view import as_json
from faeval.verdict.method import Method

TRIAL_KEYS = {
    "id", "rule", "penalty", "trainable_blocks", "seed", "trial", "status", "accuracy", "score",
    "layers",
}  # fmt: skip
LAYER_KEYS = {
    "state", "cosine_mean", "cosine_std", "cosine_clamped", "reference_norm", "credit_norm",
    "state_norm", "reference_relative_error", "undefined",
}  # fmt: skip
FINDING_KEYS = {
    "method", "check", "status", "severity", "value", "threshold", "margin", "evidence",
    "consequence",
}  # fmt: skip


def printed(found, judgement) -> dict:
    """What a reader of the JSON gets, strictly parsed."""

    def refuse(constant: str):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(json.dumps(as_json(found, judgement), allow_nan=False), parse_constant=refuse)


def test_the_promised_keys_and_the_very_numbers():
    found = list(records())
    got = printed(found, judged(method(1, 2), method(1, 2, penalty=0.01)))
    assert set(got) >= {"trials", "findings", "verdicts"}
    assert len(got["trials"]) == len(found)
    for one, record in zip(got["trials"], found, strict=True):
        assert set(one) >= TRIAL_KEYS
        assert one["id"] == record.trial.id
        assert one["rule"] == "dfa"
        assert Trial.model_validate(one["trial"]) == record.trial
        assert one["trial"] == record.trial.model_dump(mode="json")
        for key in ("penalty", "trainable_blocks", "seed"):
            assert one[key] == getattr(record.trial, key)
        assert (one["status"], one["accuracy"]) == (record.status, record.accuracy)
        assert len(one["layers"]) == len(record.layers)
        for layer, reading in zip(one["layers"], record.layers, strict=True):
            assert set(layer) >= LAYER_KEYS
            assert layer == json.loads(json.dumps(asdict(reading)))


def test_a_diverged_trial_and_an_undefined_cosine_are_nulls():
    got = printed(records(), judged(method(1, 2)))["trials"]
    assert (got[2]["status"], got[2]["accuracy"], got[2]["layers"]) == ("diverged", None, [])
    assert got[2]["divergence"] == {"epoch": 2, "layer": 3}
    control = got[3]
    assert control["trainable_blocks"] == 0
    assert (control["layers"][2]["cosine_mean"], control["layers"][2]["undefined"]) == (None, 360)


@pytest.mark.parametrize("name", STUDIES)
def test_findings_and_verdicts_of_any_study(name):
    judgement = STUDIES[name]()
    got = printed([], judgement)
    assert got["trials"] == []
    assert [f["check"] for f in got["findings"]] == [f.check for f in judgement.findings]
    for finding in got["findings"]:
        assert set(finding) == FINDING_KEYS
        assert finding["status"] in ("pass", "flag", "unmeasured")
    assert [v["method"] for v in got["verdicts"]] == [m.name for m in judgement.methods]
    for verdict in got["verdicts"]:
        assert verdict["verdict"] in ("trust", "caution", "refuse")
        assert isinstance(verdict["reasons"], list)


@pytest.mark.parametrize("broken", [{"null_std": 0.0}, {"state_norm": 1e300}])
def test_odd_numbers_in_a_reading_are_still_json(broken):
    odd = Method("dfa", 0.0, (run(1, at=2, **broken), run(2)))
    assert printed([], judged(odd))["verdicts"]


def test_options_of_a_rule_tell_trials_apart():
    """Two DFA of different scale: a reader must not have to guess from the hash."""
    found = list(records())[:1]
    other = found[0].model_copy(
        update={"trial": trial(1).model_copy(update={"rule": {"name": "dfa", "scale": 3.0}})}
    )
    one, two = printed([*found, other], judged(method(1)))["trials"]
    for entry in (one, two):
        entry.pop("id")
    assert (one["trial"]["rule"]["scale"], two["trial"]["rule"]["scale"]) == (1.0, 3.0)
