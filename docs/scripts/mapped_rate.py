"""Training from an array on disk beside training from memory: steps per second, and the memory that it takes.

python docs/scripts/mapped_rate.py --rows 10000000
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.optim import Adam

import pyrogen
from pyrogen.data.mapped import FROM_BYTES, Mapped

SIDE = 16


def write(path: Path, rows: int) -> None:
    """Random images, a million at a time."""
    draws = np.random.default_rng(0)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(rows, SIDE, SIDE))
    for start in range(0, rows, 1_000_000):
        part = array[start : start + 1_000_000]
        part[:] = draws.integers(0, 256, part.shape, dtype=np.uint8)
    array.flush()


def rate(data: pyrogen.data.Dataset, steps: int) -> float:
    """Steps per second of a VAE at batch 256, after 50 steps of warming up."""
    torch.manual_seed(0)
    vae = pyrogen.explicit.VAE(data.shape, 32, (400,), pyrogen.explicit.DiscretizedLogisticLikelihood(256))
    step = pyrogen.SVI(vae.model, vae.guide, partial(Adam, lr=1e-3), compile=True)
    for t, _ in pyrogen.fit(step, data.train, steps=steps + 50, batch_size=256):
        if t == 50:
            began = time.perf_counter()
    return steps / (time.perf_counter() - began)


def anonymous() -> float:
    """The memory of this process that no file backs, in GiB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1]) / 2**20


def main() -> None:
    """Write the file, train from both, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--folder", help="where the file is written; a temporary folder by default")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        small, large = Path(folder) / "small.npy", Path(folder) / "large.npy"
        write(small, 100_000)
        write(large, chosen.rows)
        in_memory = rate(pyrogen.load(small), chosen.steps)
        before = anonymous()
        data = pyrogen.load(large)
        if not isinstance(data.train.x, Mapped):
            parser.error(f"{chosen.rows} rows make a file below {FROM_BYTES} bytes, which is loaded")
        on_disk = rate(data, chosen.steps)
    print(f"100,000 rows in memory: {in_memory:.0f} steps/s")
    print(f"{chosen.rows:,} rows on disk: {on_disk:.0f} steps/s, {on_disk / in_memory:.0%} of that")
    print(f"memory beyond that of the first run: {anonymous() - before:.2f} GiB, without the file's pages")


if __name__ == "__main__":
    main()
