"""What is judged: one method, its runs over seeds, and their controls."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from faeval.core.reading import Diagnostic, Reading
from faeval.core.score import Score
from faeval.core.trial import shortest

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Run:
    """One trained seed of a method; `accuracy` is its score, `control` that of its frozen-blocks
    twin, `diagnostics` what the rule says of its own working."""

    seed: int
    accuracy: float | None
    layers: tuple[Reading, ...] = ()
    control: float | None = None
    divergence: str | None = None
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True)
class Method:
    """A rule with a penalty λ on block outputs, over the seeds it ran on.

    credit_is_gradient  the credit is the reference by construction, so that its cosine of 1 is
                        no evidence of anything
    granularity         whose transposes act: `block`, exact ones inside a stage; `layer`, the
                        rule's own in every layer; `none`, exact ones throughout; "" is unknown
    transports_weights  what the rule's signal reads of the forward weights on its way from
                        stage to stage: `nothing`, the `head`, their `signs` or `all`
    credit_at           which credit teaches block l: that of its `output` or of its `input`
                        state; "" where a block is taught in another way, or unknown
    feedback            `fixed`, `learned` or `redrawn`; `none` where the rule draws nothing; ""
                        is unknown
    labels              those of the training data: `true`, `permuted` or `random`
    score               what the accuracies of its runs are: `accuracy`, or `R²` of real targets
    """

    rule: str
    penalty: float
    runs: tuple[Run, ...]
    credit_is_gradient: bool = False
    granularity: str = ""
    transports_weights: str = ""
    credit_at: str = ""
    feedback: str = ""
    labels: str = "true"
    score: Score = "accuracy"

    @property
    def name(self) -> str:
        """`dfa`, or `dfa λ=0.01` with a penalty."""
        return f"{self.rule} λ={shortest(self.penalty)}" if self.penalty else self.rule

    @property
    def estimates_gradient(self) -> bool:
        """Its signal reads all the forward weights and draws nothing: what it may come to is the
        gradient, as equilibrium propagation does, and there it is no disguise."""
        return self.feedback == "none" and self.transports_weights == "all"

    @property
    def completed(self) -> tuple[Run, ...]:
        """The runs that did not diverge."""
        return tuple(run for run in self.runs if run.divergence is None)

    @property
    def paired(self) -> list[tuple[float, float]]:
        """Accuracy and that of the frozen-blocks control, of every completed run with both."""
        return [
            (run.accuracy, run.control)
            for run in self.completed
            if run.accuracy is not None and run.control is not None
        ]


class Thresholds(BaseModel):
    """Where a check flags; the defaults are the published ones (arXiv 2606.21126) where
    there is one.

    growth           ‖h_{l+1}‖/‖h_l‖ above this flags (published: 50)
    reference_error  relative error of the working-precision gradient above this flags (ours)
    undefined        fraction of samples without a defined cosine above this flags (ours); a
                     zero credit does not count, for the reference is not to blame for it
    update_error     distance of the update from its closed form, relative, above this flags
                     (ours; float32 leaves about 1e-6)
    reference_floor  ‖g_L‖ of the mean loss below this was called invalid (published: 1e-7);
                     it moves with the batch size, so it is reported and never decides
    drift            coherence ‖E g‖²/E‖g‖² above this flags: more of the gradient is common
                     to all samples than not (published: batch cosines "near 1")
    mean_share       share of one state in the sum of |cosine| above this flags (ours)
    construction     cosine above 1 − this in 95 % of samples is the reference itself (ours)
    depth_gain       accuracy (or R²) above frozen blocks must reach this (published: 0.02)
    level            confidence level of intervals; 1 − level is that of the tests (ours)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    growth: Positive = 50.0
    reference_error: Positive = 1e-3
    undefined: Annotated[float, Field(ge=0, le=1)] = 0.01
    update_error: Positive = 1e-3
    reference_floor: Positive = 1e-7
    drift: Annotated[float, Field(gt=0, le=1)] = 0.5
    mean_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    construction: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    depth_gain: Annotated[float, Field(ge=0, le=1)] = 0.02
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95


def layers_of(method: Method) -> Iterator[tuple[Run, Reading]]:
    """Every state of every completed run, with its run."""
    for run in method.completed:
        for reading in run.layers:
            yield run, reading


def states_of(method: Method) -> list[tuple[Reading, ...]]:
    """For each state, its readings over the completed runs."""
    return list(zip(*(run.layers for run in method.completed), strict=True))


def without_credit(method: Method) -> list[int]:
    """States at which some run has no cosine because the credit is zero, whatever the sample."""
    return [
        at[0].state
        for at in states_of(method)
        if any(r.cosine_mean is None and r.zero_credit for r in at)
    ]
