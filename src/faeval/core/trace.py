"""What one forward pass leaves behind."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Trace:
    """States, block outputs and errors of one batch of N samples.

    states    h_0 … h_L, each (N, …): the output of the stem and of each block
    branches  f_0 … f_{L-1}, each (N, …): what block l adds to (or makes of) h_l
    logits    (N, C)
    loss      ℓ_n, (N,): per sample, no 1/N. For class labels y, −log softmax(logits_n)[y_n];
              for real targets y (N, C), ½‖logits_n − y_n‖²
    error     e_T = ∂ℓ_n/∂logits_n, (N, C), without graph: softmax(logits) − onehot(y), or
              logits − y
    target    onehot(y) or y, (N, C): what the error compares with (of a foreign module, y)
    maps      the network's own maps, for rules that run parts of it again: h_{l+1} =
              maps[l](h_l) for l < L, and logits = maps[L](h_L). They write to no buffer
    loss_of   ℓ_n (N,) of other logits (N, C) for the same targets (None: a foreign module's)

    In a local trace every stage saw its input without graph, so a tensor here leads
    back to the parameters of its own stage only; otherwise it leads back to the input.
    """

    states: tuple[Tensor, ...]
    branches: tuple[Tensor, ...]
    logits: Tensor
    loss: Tensor
    error: Tensor
    target: Tensor
    maps: tuple[Callable[[Tensor], Tensor], ...] = ()
    loss_of: Callable[[Tensor], Tensor] | None = None
