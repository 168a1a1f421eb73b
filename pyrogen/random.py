"""Random streams: each is named, and derived from one seed.

A stream is a pure function of its seed and name, so nothing about randomness has to be saved: step
``t`` of a run draws the same numbers whether or not the run was interrupted before it, and whatever
else (a picture, an evaluation) was drawn in between.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *name: str | int) -> int:
    """The seed of the stream ``name`` under ``seed``: 63 bits of a hash, equal on every machine."""
    digest = hashlib.blake2b(repr((seed, *name)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *name: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of the stream ``name`` on ``device``."""
    return torch.Generator(device).manual_seed(derive(seed, *name))


def random_state() -> tuple[torch.Tensor, torch.Tensor | None]:
    """The state of torch's global generators: CPU and, where in use, CUDA."""
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    return torch.default_generator.get_state(), torch.cuda.get_rng_state() if cuda else None


def set_random_state(state: tuple[torch.Tensor, torch.Tensor | None]) -> None:
    """Take back ``random_state``."""
    cpu, cuda = state
    torch.default_generator.set_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state(cuda)


@contextmanager
def scoped_seed(seed: int) -> Iterator[None]:
    """Seed torch's global generators (CPU and, where in use, CUDA) inside, and restore them after."""
    before = random_state()
    torch.default_generator.manual_seed(seed)
    if before[1] is not None:
        torch.cuda.manual_seed(seed)
    try:
        yield
    finally:
        set_random_state(before)
