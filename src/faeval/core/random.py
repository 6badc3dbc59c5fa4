"""Named random generators: every source of chance in a trial has its own stream."""

import hashlib

import torch


def generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator for the stream `name` of `seed`.

    Streams of different names are independent, so that drawing one more number
    from, say, the augmentation leaves the weights of the same seed unchanged.
    Drawing always happens on the CPU: a seed means the same numbers on every device.
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
