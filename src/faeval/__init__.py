"""faeval: train networks without backpropagation, read every layer, say what can be trusted."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from faeval._version import __version__

if TYPE_CHECKING:
    from faeval.core.errors import InputError
    from faeval.core.reading import Reading
    from faeval.core.trace import Trace
    from faeval.core.trial import Recipe, Trial
    from faeval.data import DATA, Batches, Dataset, Source, Split, load
    from faeval.models import (
        CNN,
        LQ,
        MODELS,
        Architecture,
        ResMLP,
        ResNet,
        Staged,
        Student,
        ViTMini,
    )
    from faeval.probe import Measured, every, logarithmic, measure, watch
    from faeval.records.schema import TrialRecord
    from faeval.rules import (
        BP,
        BRSF,
        DFA,
        DRTP,
        FA,
        FRSF,
        RULES,
        USF,
        Claims,
        CreditBridge,
        DFALayer,
        DFAShared,
        DFASign,
        DFASparse,
        EqProp,
        FALayer,
        KolenPollack,
        Rule,
        Shallow,
        StateBridge,
        WeightMirror,
    )
    from faeval.stats import Interval, Null
    from faeval.study.opening import open_study
    from faeval.verdict.finding import Finding
    from faeval.verdict.judge import Judgement, Verdict, judge_all
    from faeval.verdict.method import Method, Run, Thresholds

# Where each public name lives. Resolved on first use: importing torch takes over a second,
# and `faeval --help` must not.
_HOME = {
    "InputError": "faeval.core.errors",
    "Reading": "faeval.core.reading",
    "Trace": "faeval.core.trace",
    "Recipe": "faeval.core.trial",
    "Trial": "faeval.core.trial",
    **dict.fromkeys(("DATA", "Batches", "Dataset", "Source", "Split", "load"), "faeval.data"),
    **dict.fromkeys(("MODELS", "Architecture", "Staged"), "faeval.models"),
    **dict.fromkeys(("CNN", "LQ", "ResMLP", "ResNet", "Student", "ViTMini"), "faeval.models"),
    **dict.fromkeys(("Measured", "every", "logarithmic", "measure", "watch"), "faeval.probe"),
    "TrialRecord": "faeval.records.schema",
    **dict.fromkeys(
        (
            "BP",
            "DFA",
            "RULES",
            "Claims",
            "Rule",
            "StateBridge",
            "EqProp",
            "CreditBridge",
            "BRSF",
            "FRSF",
            "USF",
            "KolenPollack",
            "WeightMirror",
            "DFALayer",
            "DFAShared",
            "DFASign",
            "DFASparse",
            "DRTP",
            "FA",
            "FALayer",
            "Shallow",
        ),
        "faeval.rules",
    ),
    **dict.fromkeys(("Interval", "Null"), "faeval.stats"),
    "open_study": "faeval.study.opening",
    **dict.fromkeys(("Judgement", "Verdict", "judge_all"), "faeval.verdict.judge"),
    "Finding": "faeval.verdict.finding",
    **dict.fromkeys(("Method", "Run", "Thresholds"), "faeval.verdict.method"),
}

__all__ = [
    "BP",
    "BRSF",
    "CNN",
    "DATA",
    "DFA",
    "DRTP",
    "FA",
    "FRSF",
    "LQ",
    "MODELS",
    "RULES",
    "USF",
    "Architecture",
    "Batches",
    "Claims",
    "CreditBridge",
    "DFALayer",
    "DFAShared",
    "DFASign",
    "DFASparse",
    "Dataset",
    "EqProp",
    "FALayer",
    "Finding",
    "InputError",
    "Interval",
    "Judgement",
    "KolenPollack",
    "Measured",
    "Method",
    "Null",
    "Reading",
    "Recipe",
    "ResMLP",
    "ResNet",
    "Rule",
    "Run",
    "Shallow",
    "Source",
    "Split",
    "Staged",
    "StateBridge",
    "Student",
    "Thresholds",
    "Trace",
    "Trial",
    "TrialRecord",
    "Verdict",
    "ViTMini",
    "WeightMirror",
    "__version__",
    "every",
    "judge_all",
    "load",
    "logarithmic",
    "measure",
    "open_study",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'faeval' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
