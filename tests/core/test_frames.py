"""Readings as pandas frames."""

import sys
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

import faeval
from faeval import InputError
from faeval.core.frames import QUANTILES, flat
from faeval.verdict.judge import judge_all
from faeval.verdict.method import Method, Run, Thresholds


@pytest.fixture(scope="module")
def measured():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    feedback = torch.randn(5, 3)
    return faeval.measure(
        net, states=["0", "1"], batch=(torch.randn(30, 4), torch.randint(3, (30,))),
        credits=lambda trace: [trace.error @ feedback.T] * 2, null="gaussian",
        precisions=[torch.bfloat16],
    )  # fmt: skip


def test_a_flat_reading_loses_nothing(measured):
    """Every number of the nested form is there once, under the name of its path."""
    reading = measured.readings[1]
    row = flat(reading)
    nested = asdict(reading)
    for name in ("null", "direction", "probes"):
        for inner, value in (nested.pop(name) or {}).items():
            assert row.pop(f"{name}_{inner}") == value
    for precision in nested.pop("precisions"):
        dtype = precision.pop("dtype")
        for inner, value in precision.items():
            assert row.pop(f"{dtype}_{inner}") == value
    quantiles = nested.pop("cosine_quantiles")
    assert [row.pop(f"cosine_{q}") for q in QUANTILES] == list(quantiles)
    assert row == nested


def test_frame_of_a_measurement(measured):
    pytest.importorskip("pandas", reason="needs faeval[frames]")
    frame = measured.to_frame()
    assert list(frame["submodule"]) == ["0", "1"]
    assert list(frame["cosine_mean"]) == [r.cosine_mean for r in measured.readings]
    assert list(frame["null_std"]) == [r.null.std for r in measured.readings]
    assert "bfloat16_cosine" in frame


def test_frame_of_a_judgement(measured):
    pandas = pytest.importorskip("pandas", reason="needs faeval[frames]")
    layers = measured.readings
    blind = tuple(replace(r, null=None) for r in layers)
    judgement = judge_all(
        [
            Method("dfa", 0.0, (Run(1, 0.7, layers, 0.5), Run(2, None, (), 0.4, "epoch 2, h3"))),
            Method("dfa", 0.01, (Run(1, 0.6, blind, 0.5),)),
        ],
        Thresholds(),
    )
    frame = judgement.to_frame()
    assert list(frame["method"]) == ["dfa"] * 3 + ["dfa λ=0.01"] * 2
    assert list(frame["seed"]) == [1, 1, 2, 1, 1]
    assert frame["accuracy"].tolist()[:2] == [0.7, 0.7]
    assert set(frame["score"]) == {"accuracy"}
    gone = frame.iloc[2]
    assert gone["divergence"] == "epoch 2, h3"
    assert pandas.isna(gone["state"])
    assert pandas.isna(frame.iloc[3]["null_std"])
    by_state = frame.groupby(["method", "state"])["cosine_mean"].mean()
    assert by_state["dfa λ=0.01", 1] == layers[1].cosine_mean


def test_without_pandas_it_says_what_to_install(measured, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"pip install 'faeval\[frames\]'"):
        measured.to_frame()
