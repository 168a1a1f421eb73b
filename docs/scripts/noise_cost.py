"""Milliseconds to read a batch of binarised images, with the noise compiled, eager, and drawn by a generator, in turn.

python docs/scripts/noise_cost.py                          # --smoke for a run of a few seconds
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from pyrogen.compile import CompiledNoise
from pyrogen.data import Binarise, Split
from pyrogen.data.batches import batches


class ByGenerator:
    """The same noise as a user's function would draw it."""

    def __init__(self, noise: Binarise) -> None:
        self.noise = noise

    def __call__(self, stored: Tensor, generator: torch.Generator) -> Tensor:
        """Binarised images."""
        return self.noise(stored, generator)


def sources(rows: int, batch_size: int) -> dict[str, Iterator[Any]]:
    """The batches of each kind of noise, by its name."""
    noise = Binarise(255)
    images = Split(torch.randint(0, 256, (rows, 1, 28, 28), dtype=torch.uint8), noise=noise)
    kinds = {"compiled": CompiledNoise(noise), "eager": noise, "by a generator": ByGenerator(noise)}
    return {name: batches(replace(images, noise=kind), batch_size) for name, kind in kinds.items()}


def main() -> None:
    """Print the medians of each batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024], help="rows of a batch")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    if args.smoke:
        args.sizes, args.rows, args.rounds = [16], 100, 2
    for size in args.sizes:
        readers = sources(args.rows, size)
        times: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(args.rounds + 1):  # the first compiles
            for name, reader in readers.items():
                began = time.perf_counter()
                for _ in range(50):
                    next(reader)
                times[name].append(20 * (time.perf_counter() - began))
        found = ", ".join(f"{name} {median(values[1:]):.3f} ms" for name, values in times.items())
        print(f"batch {size}: {found}", flush=True)


if __name__ == "__main__":
    main()
