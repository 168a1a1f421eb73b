"""Examples per second against the size of the data: 16 × 16 images of 8 bits in a ``.npy`` file.

Files below ``pyrogen.data.memmap.DISK_THRESHOLD`` are loaded, larger ones stay on disk.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyrogen.bench.fresh import child

SIDE = 16
SMALLEST = 1000
_CHUNK = 1_000_000


@dataclass(frozen=True)
class Rate:
    """How one size trains.

    Args:
        rows: of the file; eight tenths of them are trained on.
        where: whether the rows lie ``in memory`` or ``on disk``.
        examples: per second of training.
        loading: seconds of reading the file and splitting it.
        memory: of the process that no file backs, MiB.
    """

    rows: int
    where: str
    examples: float
    loading: float
    memory: float


def rates(most: int, batch_size: int, device: str, seconds: float, folder: str | None = None) -> Iterator[Rate]:
    """Train from 1,000, 10,000, … images, each size in a process of its own.

    Args:
        most: the largest size.
        batch_size: rows of a batch.
        device: where to compute.
        seconds: how long to train, after warming up.
        folder: where the file is written for the time; 2.4 GiB for ten million rows.
    """
    rows = SMALLEST
    while rows <= most:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            file = Path(place) / "images.npy"
            write(file, rows)
            told = child("training_rate", str(file), batch_size, device, seconds)
        yield Rate(rows, told["where"], told["rate"], told["loading"], told["anonymous"])
        rows *= 10


def write(file: Path, rows: int) -> None:
    """Random images, a part at a time."""
    draws = np.random.default_rng(0)
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(rows, SIDE, SIDE))
    for start in range(0, rows, _CHUNK):
        part = array[start : start + _CHUNK]
        part[:] = draws.integers(0, 256, part.shape, dtype=np.uint8)
    array.flush()


def table(batch_size: int, rates: list[Rate]) -> str:
    """Markdown, smallest first."""
    lines = [
        f"**vae on 16 × 16 images, batch {batch_size}**\n",
        "| images | | examples per second | loading, s | memory without the file's pages, MiB |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {r.rows:,} | {r.where} | {r.examples:,.0f} | {r.loading:.1f} | {r.memory:,.0f} |" for r in rates]
    return "\n".join(lines) + "\n"
