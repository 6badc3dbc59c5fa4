"""A trial: everything that decides the outcome of one training run, and nothing else."""

import hashlib
import json
import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from faeval.core.spec import Spec


def shortest(number: float) -> str:
    """The shortest decimal that stands for this number alone: `0`, `0.01`, `1e-05`."""
    return repr(number).removesuffix(".0")


Course = (
    Literal["logarithmic", "none"]
    | Annotated[int, Field(ge=1, strict=True)]
    | tuple[Annotated[int, Field(ge=0, strict=True)], ...]
)


class Recipe(BaseModel):
    """How a network is trained, the same for every rule that is compared.

    epochs          passes over the training data; 0 leaves the network untrained
    batch_size      samples per step
    learning_rate   of AdamW at the first step; falls to zero along half a cosine
    weight_decay    of AdamW (decoupled)
    credit_at       which credit teaches block l: that of its `output` state h_{l+1}
                    (consistent: ∂ℓ/∂f_l = g_{l+1}) or of its `input` state h_l (the
                    convention of the published runs)
    augment         random crops and flips, where the data set declares them
    reading_images  test images on which the trained network is read
    probe_images    how many of them meet the costlier probes: half precisions, parameter
                    updates, perturbation correlation, nudge; 0 for none
    validation      fraction of the training data that is held out, never trained on, and takes
                    the place of the test data; 0 for none
    course          after which epochs the network in training is read too: `logarithmic`
                    (0, 1, 2, 4, 8, …), `none`, a number k for every k-th, or a list of epochs
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Annotated[int, Field(ge=0)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 128
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    credit_at: Literal["output", "input"] = "output"
    augment: bool = True
    reading_images: Annotated[int, Field(ge=1)] = 1024
    probe_images: Annotated[int, Field(ge=0)] = 128
    # Left out of the plain form at their defaults: ids from before these fields stay as they are.
    validation: Annotated[float, Field(ge=0, lt=1, exclude_if=lambda v: v == 0)] = 0.0
    course: Annotated[Course, Field(exclude_if=lambda v: v == "logarithmic")] = "logarithmic"

    @property
    def course_epochs(self) -> tuple[int, ...]:
        """The epochs after which the network in training is read, in order; 0 is the untrained
        network, and the last epoch is that of the record itself."""
        if self.course == "none":
            return ()
        if self.course == "logarithmic":
            due = (0, *(2**i for i in range(self.epochs.bit_length())))
        elif isinstance(self.course, int):
            due = range(0, self.epochs, self.course)
        else:
            due = sorted(set(self.course))
        return tuple(epoch for epoch in due if epoch < self.epochs)


class Trial(BaseModel):
    """One (data, model, rule, penalty, trainable blocks, labels, feedback, recipe, seed).

    trainable_blocks  counts from the head: 0 freezes every block at its initial weights (the
                      frozen-blocks control), k trains the last k
    labels            those of the training data: `true`, `permuted` over the samples, or drawn
                      at `random` once; the test labels are always true
    reading_feedback  the feedback that is read: that which `trained`, or a `fresh` draw
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    model: Spec
    rule: Spec
    penalty: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    trainable_blocks: Annotated[int, Field(ge=0)]
    labels: Literal["true", "permuted", "random"] = "true"
    reading_feedback: Literal["trained", "fresh"] = "trained"
    recipe: Recipe
    seed: int

    @property
    def id(self) -> str:
        """`<rule>-<penalty>-s<seed>-<hash8>`; the hash covers every field."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        digest = hashlib.blake2b(canonical.encode(), digest_size=4).hexdigest()
        return f"{self.rule['name']}-{shortest(self.penalty)}-s{self.seed}-{digest}"

    def learning_rate(self, step: int, steps: int) -> float:
        """η_t = η_0 · (1 + cos(π t / T)) / 2 for step t of T."""
        return self.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
