"""A hash that tells whether tensors are still the same."""

import hashlib
from collections.abc import Mapping

from torch import Tensor


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """16 hexadecimal characters from names, types, shapes and values of CPU tensors."""
    total = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        total.update(tensor.contiguous().numpy().data)
    return total.hexdigest()
