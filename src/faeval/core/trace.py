"""What one forward pass leaves behind."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Trace:
    """States, block outputs and errors of one batch of N samples.

    states    h_0 … h_L, each (N, …): the output of the stem and of each block
    branches  f_0 … f_{L-1}, each (N, …): what block l adds to (or makes of) h_l
    logits    (N, C)
    loss      ℓ_n = −log softmax(logits_n)[y_n], (N,): per sample, no 1/N
    error     e_T = softmax(logits) − onehot(y), (N, C), without graph: ∂ℓ_n/∂logits_n

    In a local trace every stage saw its input without graph, so a tensor here leads
    back to the parameters of its own stage only; otherwise it leads back to the input.
    """

    states: tuple[Tensor, ...]
    branches: tuple[Tensor, ...]
    logits: Tensor
    loss: Tensor
    error: Tensor
