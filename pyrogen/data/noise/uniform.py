"""Uniform random numbers for noise in the data: drawn by a generator, or a pure function of a key and a position.

The function is SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. It is
a dozen operations on integers, which are the same on every device and can be compiled.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrogen.nn.precision import default_dtype


@dataclass(frozen=True)
class Stream:
    """Random numbers that are a pure function of a key and of the row and column that they are for.

    Args:
        key: ``int64 ()``, on the device of the numbers; or ``(k,)``, one for each of ``k`` batches that follow each
            other in the rows.
        row: the number of the first row, so that a part of a batch has the numbers of these rows in the whole batch.
    """

    key: Tensor
    row: int = 0


_GAMMA = 0x9E3779B97F4A7C15 - 2**64  # the constants of the paper as signed words
_ROUNDS = (30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64)

Draws = torch.Generator | Stream
"""What noise in the data is drawn from."""


def uniform(shape: torch.Size, draws: Draws, bits: int) -> Tensor:
    """Uniform numbers among the ``2^bits`` midpoints of a regular grid on (0, 1), exact in float32.

    Args:
        shape: of rows and what a row consists of.
        draws: where they are drawn from.
        bits: at most 16.
    """
    if isinstance(draws, Stream):
        whole = _from_stream(shape, draws) >> (32 - bits)
    else:
        whole = _from_generator(shape, draws)
        whole = whole if bits == 16 else whole >> (16 - bits)
    return whole.to(default_dtype()).mul_(2.0**-bits).add_(0.5 + 2.0 ** -(bits + 1))


def split_mix(key: Tensor, first: int, n: int) -> Tensor:
    """The words ``first``, …, ``first + n - 1`` of SplitMix64 seeded with each ``key``, counted from 0.

    Args:
        key: ``int64 (*batch)``.
        first, n: which words.

    Returns:
        ``int64 (*batch, n)``.
    """
    # key + (i + 1) γ = key - γ ~i: a compiler would count i γ among the indices of its loop, which do not overflow
    z = torch.add(key[..., None], torch.arange(first, first + n, device=key.device).bitwise_not_(), alpha=-_GAMMA)
    for shift, multiplier in _ROUNDS:
        _xor_shifted(z, shift).mul_(multiplier)
    return _xor_shifted(z, 31)


def _xor_shifted(z: Tensor, k: int) -> Tensor:
    """``z ^ (z >> k)`` in place, with zeros shifted in."""
    return z.bitwise_xor_((z >> k).bitwise_and_((1 << (64 - k)) - 1))


def _from_stream(shape: torch.Size, stream: Stream) -> Tensor:
    """Random ``int32`` of this shape: one word serves two numbers."""
    n = shape.numel() // stream.key.numel()  # for each key
    first = stream.row * (shape.numel() // shape[0] if n else 0)
    words = split_mix(stream.key, first // 2, (first + n + 1) // 2 - first // 2)
    return words.view(torch.int32)[..., first % 2 : first % 2 + n].reshape(shape)


def _from_generator(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Random ``int16`` of this shape: one word serves four numbers."""
    n = shape.numel()
    words = torch.empty(-(-n // 4), dtype=torch.int64, device=generator.device)
    words.random_(-(2**63), None, generator=generator)
    return words.view(torch.int16)[:n].view(shape)
