"""Random numbers as a function of a key and a position."""

from math import sqrt

import pytest
import torch

from pyrogen.data import Binarise, Column, Dequantise, ReadColumns, Space, Split
from pyrogen.data.batches import batches
from pyrogen.data.noise.uniform import Stream, split_mix, uniform
from pyrogen.random import derive


def test_words_are_those_of_other_implementations() -> None:
    """The first outputs for the seed 1234567, as published for tests of SplitMix64."""
    words = split_mix(torch.tensor(1234567), 0, 5)
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [word % 2**64 for word in words.tolist()] == expected
    assert torch.equal(split_mix(torch.tensor(1234567), 2, 3), words[2:])


@pytest.mark.parametrize(
    "noise",
    [
        Binarise(255),
        Dequantise(Space("unit", 256)),
        Dequantise(Space("logit", 256)),
        ReadColumns(Space("real", columns=(Column("a", "integer", step=1.0, low=0.0, cells=9), Column("b", "real")))),
    ],
    ids=["binarise", "unit", "logit", "columns"],
)
@pytest.mark.parametrize("size", [2, 3])
def test_a_part_of_a_batch_has_the_noise_of_its_rows(noise, size: int) -> None:
    stored = torch.randint(0, 9, (7, 2 if isinstance(noise, ReadColumns) else size)).byte()
    key = torch.tensor(derive(0, "noise", 1))
    whole = noise(stored, Stream(key))
    for first, end in ((0, 7), (1, 4), (3, 7), (6, 7), (2, 2)):
        assert torch.equal(noise(stored[first:end], Stream(key, first)), whole[first:end])


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("row", [0, 1])
def test_several_keys_are_those_of_batches_that_follow_each_other(size: int, row: int) -> None:
    noise, stored = Binarise(255), torch.randint(0, 256, (15, size)).byte()
    keys = torch.tensor([7, -2, 2**62])
    alone = [noise(part, Stream(key, row)) for part, key in zip(stored.split(5), keys, strict=True)]
    assert torch.equal(noise(stored, Stream(keys, row)), torch.cat(alone))


def test_batches_of_several_processes_are_parts_of_the_batch_of_one() -> None:
    split = Split(torch.randint(0, 256, (50, 1, 3, 3), dtype=torch.uint8), torch.arange(50), Binarise(255))
    sources = [batches(split, 10, 4, 3)] + [
        batches(split, 10, 4, 3, part=lambda n, rank=rank: slice(n * rank // 3, n * (rank + 1) // 3))
        for rank in range(3)
    ]
    for _ in range(8):
        whole, *parts = map(next, sources)
        for together, *apart in zip(whole, *parts, strict=True):
            assert torch.equal(together, torch.cat(apart))


def test_numbers_of_neighbouring_keys_and_rows_are_independent() -> None:
    n = 200_000
    of_keys = [uniform(torch.Size([n]), Stream(torch.tensor(key)), bits=16) for key in (0, 1, 2, 2**62)]
    for i, u in enumerate(of_keys):
        for v in of_keys[:i]:
            assert abs(((u - 0.5) * (v - 0.5)).mean()) < 4 / 12 / sqrt(n)
    rows = uniform(torch.Size([n // 4, 4]), Stream(torch.tensor(5)), bits=16) - 0.5
    covariance = rows.T @ rows / len(rows)
    assert (covariance - torch.eye(4) / 12).abs().max() < 5 / 12 / sqrt(len(rows))


def test_a_noise_of_the_user_is_given_a_generator() -> None:
    given = []

    def noise(stored, generator):
        given.append(generator)
        return stored + torch.rand(stored.shape, generator=generator)

    split = Split(torch.zeros(8, 2), noise=noise)
    found = [[next(batches(split, 4, seed=1, start=start))[0] for start in range(3)] for _ in range(2)]
    assert all(map(torch.equal, *found))
    assert all(isinstance(one, torch.Generator) for one in given)
