"""Examples per second against the size of the data: 16 × 16 images with 8 bits in a ``.npy`` file.

Files smaller than ``pyrogen.data.memmap.DISK_THRESHOLD`` are loaded, larger ones stay on disk.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyrogen.bench.subprocess_runs import run_in_subprocess

SIDE = 16
SMALLEST = 1000
_CHUNK = 1_000_000


@dataclass(frozen=True)
class Rate:
    """The results for one size.

    Args:
        rows: the rows of the file, of which 80% are training data.
        where: whether the rows are ``in memory`` or ``on disk``.
        examples: examples per second of training.
        loading: the time to read and split the file, in seconds.
        memory: the anonymous memory of the process, in MiB.
    """

    rows: int
    where: str
    examples: float
    loading: float
    memory: float


def rates(most: int, batch_size: int, device: str, seconds: float, folder: str | None = None) -> Iterator[Rate]:
    """Train on 1,000, 10,000, … images, each size in a process of its own.

    Args:
        most: the largest size.
        batch_size: rows per batch.
        device: the device to use.
        seconds: the training time after warm-up.
        folder: the folder of the temporary file; 2.4 GiB for ten million rows.
    """
    rows = SMALLEST
    while rows <= most:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            file = Path(place) / "images.npy"
            write(file, rows)
            result = run_in_subprocess("training_rate", str(file), batch_size, device, seconds)
        yield Rate(rows, result["where"], result["rate"], result["loading"], result["anonymous"])
        rows *= 10


def write(file: Path, rows: int) -> None:
    """Write random images in chunks."""
    draws = np.random.default_rng(0)
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(rows, SIDE, SIDE))
    for start in range(0, rows, _CHUNK):
        part = array[start : start + _CHUNK]
        part[:] = draws.integers(0, 256, part.shape, dtype=np.uint8)
    array.flush()


def table(batch_size: int, rates: list[Rate]) -> str:
    """Return a Markdown table, smallest size first."""
    lines = [
        f"**vae on 16 × 16 images, batch {batch_size}**\n",
        "| images | | examples per second | loading, s | memory without the file's pages, MiB |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {r.rows:,} | {r.where} | {r.examples:,.0f} | {r.loading:.1f} | {r.memory:,.0f} |" for r in rates]
    return "\n".join(lines) + "\n"
