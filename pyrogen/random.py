"""Named random streams, all derived from one seed.

A stream is a pure function of its seed and name, so no random state has to be saved: step ``t`` of a run draws the same
numbers whether or not the run was interrupted before, and whatever was drawn in between (by plots or evaluations).
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *name: str | int) -> int:
    """Derive the seed of stream ``name`` from ``seed``: 63 bits of a hash, equal on every machine."""
    digest = hashlib.blake2b(repr((seed, *name)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *name: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator for the stream ``name`` on ``device``."""
    return torch.Generator(device).manual_seed(derive(seed, *name))


def random_rows(x: torch.Tensor, n: int, seed: int, *name: str | int) -> torch.Tensor:
    """``n`` rows of ``x`` at random, in random order; all of them if there are fewer."""
    order = torch.randperm(len(x), generator=generator(seed, "rows", *name))
    return x[order[:n].to(x.device)]


State = tuple[torch.Tensor, list[torch.Tensor]]
"""The state of torch's global generators: of the CPU, and of every CUDA device if CUDA is in use."""


def random_state() -> State:
    """Return the state of torch's global generators."""
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    return torch.default_generator.get_state(), torch.cuda.get_rng_state_all() if cuda else []


def set_random_state(state: State) -> None:
    """Restore a state that ``random_state`` returned."""
    cpu, cuda = state
    torch.default_generator.set_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restore the state of torch's global generators afterwards."""
    before = random_state()
    try:
        yield
    finally:
        set_random_state(before)


@contextmanager
def scoped_seed(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside, and restore their state afterwards."""
    with preserved_random_state():
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
        yield
