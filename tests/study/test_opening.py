"""A study opened from its folder: by its records alone, old ones too, and nothing else needed."""

import json
from datetime import UTC, datetime

import pytest
from by_hand import record
from small import MODEL

import faeval
from faeval.records.events import Events
from faeval.study.claim import claim
from faeval.study.config import StudyConfig
from faeval.study.folder import commands_of
from faeval.study.plan import Plan, plan
from faeval.study.results import Results
from faeval.study.tuning import candidates, tuned

KEYS = {"data": "digits", "model": MODEL, "seeds": [1, 2], "rules": ["dfa"]}


def planned(**keys) -> Plan:
    return plan(StudyConfig.parse(KEYS | keys))


def write(folder, records, study: Plan):
    folder.mkdir()
    claim(folder, candidates(study), "f00d")
    for one in records.values():
        place = folder / "trials" / one.trial.id
        place.mkdir()
        one.save(place / "record.json")
    return folder


def test_an_opened_study_is_the_one_that_was_judged(tmp_path):
    study = planned()
    records = {t.id: record(t, 0.5 + 0.1 * bool(t.trainable_blocks)) for t in study.trials}
    opened = faeval.open_study(write(tmp_path / "study", records, study))
    judged = Results(study, records).judgement()
    assert opened.judgement.verdicts == judged.verdicts
    assert opened.judgement.findings == judged.findings
    assert {r.trial.id for r in opened.records} == set(records)
    assert len(opened.records) == len(records)
    assert (opened.missing, opened.commands) == ((), ())
    shown = opened._repr_html_()
    for f in opened.conclusions:
        assert f.consequence in shown
    assert faeval.open_study(str(tmp_path / "study")).judgement == opened.judgement


def test_the_rates_that_were_not_chosen_are_not_missing_and_a_lost_seed_is(tmp_path):
    study = planned(tune={"learning_rates": [0.001, 0.01], "validation": 0.2}, penalties=[0.0])
    records = {t.id: record(t, 0.5 + t.recipe.learning_rate) for t in study.trials}
    final, _ = tuned(study, records)
    records |= {t.id: record(t, 0.6) for t in final.trials}
    lost = final.methods[0].trials[1]
    whole = faeval.open_study(write(tmp_path / "whole", records, study))
    assert whole.missing == ()
    assert len(whole.tuning) == len(study.trials)
    del records[lost.id]
    torn = faeval.open_study(write(tmp_path / "torn", records, study))
    assert lost.id in torn.missing
    assert {name.split("-")[2] for name in torn.missing} == {"s2"}


def test_the_commands_are_kept_in_order_with_their_time(tmp_path):
    assert commands_of(tmp_path) == []
    events = Events(tmp_path / "events.jsonl")
    for line in ("faeval audit a.yaml", "faeval audit --seeds 1"):
        events.tell("command", line=line, version="1")
    events.tell("begun", trials=1)
    found = commands_of(tmp_path)
    assert [line for _, line in found] == ["faeval audit a.yaml", "faeval audit --seeds 1"]
    assert abs((datetime.now(UTC) - found[0][0]).total_seconds()) < 60


@pytest.mark.parametrize("left", ["nothing", "no trials", "controls"])
def test_a_folder_without_a_method_is_refused(tmp_path, left):
    folder = tmp_path / "study"
    if left != "nothing":
        study = planned()
        controls = {t.id: record(t, 0.5) for t in study.methods[0].controls}
        write(folder, controls if left == "controls" else {}, study)
    with pytest.raises(faeval.InputError) as refused:
        faeval.open_study(folder)
    assert str(folder) in str(refused.value)


def test_a_record_from_before_the_later_fields_is_opened(tmp_path):
    study = planned(penalties=[0.0])
    folder = write(tmp_path / "old", {t.id: record(t, 0.5) for t in study.trials}, study)
    for path in folder.glob("trials/*/record.json"):
        content = json.loads(path.read_text())
        for later in ("diagnostics", "processor", "threads"):
            del content[later]
        path.write_text(json.dumps(content))
    (found,) = [
        f for f in faeval.open_study(folder).judgement.findings if f.check == "rule's own account"
    ]
    assert (found.status, found.severity) == ("pass", "note")
    assert "was not asked" in found.evidence
