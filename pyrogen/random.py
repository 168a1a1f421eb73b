"""Named random streams, all derived from one seed.

A stream is a pure function of its seed and name, so no random state has to be saved: step ``t`` of a run draws the same
numbers whether or not the run was interrupted before, and whatever was drawn in between (by plots or evaluations).
"""

import ctypes
import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.random import MT19937, mtrand


def derive(seed: int, *name: str | int) -> int:
    """Derive the seed of stream ``name`` from ``seed``: 63 bits of a hash, equal on every machine."""
    digest = hashlib.blake2b(repr((seed, *name)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


EVALUATION = derive(0, "evaluate")
"""The seed of what a step draws in ``evaluate``: equal weights and data give an equal loss, in a resumed run too."""


def generator(seed: int, *name: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator for the stream ``name`` on ``device``."""
    return torch.Generator(device).manual_seed(derive(seed, *name))


def reseed(owner: object, seed: int) -> None:
    """Seed every generator of torch, numpy and ``random`` that is an attribute of ``owner``."""
    for name, value in getattr(owner, "__dict__", {}).items():
        own = derive(seed, name)
        if isinstance(value, torch.Generator):
            value.manual_seed(own)
        elif isinstance(value, np.random.Generator):
            value.bit_generator.state = type(value.bit_generator)(own).state
        elif isinstance(value, np.random.RandomState):
            value.seed(own % 2**32)
        elif isinstance(value, random.Random):
            value.seed(own)


def random_rows(x: torch.Tensor, n: int, seed: int, *name: str | int) -> torch.Tensor:
    """``n`` rows of ``x`` at random, in random order; all of them if there are fewer."""
    order = torch.randperm(len(x), generator=generator(seed, "rows", *name))
    return x[order[:n].to(x.device)]


State = tuple[torch.Tensor, list[torch.Tensor]]
"""The state of torch's global generators: of the CPU, and of every CUDA device if CUDA is in use."""


def random_state() -> State:
    """Return the state of torch's global generators."""
    cuda = torch.cuda.is_initialized()
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
    """Seed the global generators of torch, numpy and ``random`` inside, and restore their states afterwards."""
    torch_before, python_before, numpy_before = random_state(), random.getstate(), _exchange_numpy()
    try:
        reseed_global(seed)
        yield
    finally:
        _restore_numpy(*numpy_before)
        random.setstate(python_before)
        set_random_state(torch_before)


def reseed_global(seed: int) -> None:
    """Seed the global generators as ``scoped_seed`` does; only inside that, which restores their states."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    address, words = _words(mtrand.get_bit_generator())
    _without[address] = words or b""


# numpy's global state takes 0.1 ms to read and to write. Its bit generator is therefore exchanged for a spare one, in
# 1 µs, which drops the normal variate that the legacy functions may have drawn ahead. Only if the bit generator has
# moved since it was last seen without such a variate is the state read, which tells whether there is one.
_spare: list[MT19937] = []
_without: dict[int, bytes] = {}
"""The state of each bit generator, by its address, in which no variate was drawn ahead."""


def _exchange_numpy() -> tuple[Any, MT19937, Any]:
    """Put a spare bit generator in place of numpy's global one.

    Returns:
        Both; and numpy's state if a variate was drawn ahead, else ``None``.
    """
    used: Any = mtrand.get_bit_generator()
    address, words = _words(used)
    state: Any = None
    if words is None or _without.get(address) != words:
        state = np.random.get_state(legacy=False)
        if not state["has_gauss"]:
            state = None
            _without[address] = words or b""
    spare = _spare.pop() if _spare else MT19937(0)
    mtrand.set_bit_generator(spare)
    return used, spare, state


def _restore_numpy(used: Any, spare: MT19937, state: Any) -> None:
    """Take back what ``_exchange_numpy`` returned."""
    mtrand.set_bit_generator(used)
    _spare.append(spare)
    if state is not None:
        np.random.set_state(state)


def _words(used: Any) -> tuple[int, bytes | None]:
    """The address of a Mersenne twister's state, and its 624 words and position; no words of another bit generator."""
    address = used.ctypes.state_address
    return address, ctypes.string_at(address, 4 * 625) if isinstance(used, MT19937) else None
