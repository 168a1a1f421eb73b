"""Training from a folder of images that stays on disk beside training from memory: images per second.

python docs/scripts/folder_rate.py --images 5000 --workers 0 1 2
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch.optim import Adam

import pyrogen
from pyrogen.data import Dataset, batches

BATCH = 64


def write(folder: Path, images: int, side: int) -> None:
    """Smooth random colours, which compress about as photographs do."""
    draws = np.random.default_rng(0)
    for i in range(images):
        few = Image.fromarray(draws.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        few.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i:06d}.png")


def read(data: Dataset, steps: int, workers: int) -> float:
    """Images per second of batches alone."""
    source = batches(data.train, BATCH, workers=workers)
    next(source)
    began = time.perf_counter()
    for _ in range(steps):
        next(source)
    return steps * BATCH / (time.perf_counter() - began)


def train(data: Dataset, steps: int, workers: int) -> float:
    """Images per second of a VAE that trains on them, after ten steps of warming up."""
    torch.manual_seed(0)
    vae = pyrogen.explicit.VAE(data.shape, 32, (256,), pyrogen.explicit.DiscretizedLogisticLikelihood(256))
    step = pyrogen.SVI(vae.model, vae.guide, partial(Adam, lr=1e-4), compile=False)
    for t, _ in pyrogen.fit(step, data.train, steps=steps + 10, batch_size=BATCH, workers=workers):
        if t == 10:
            began = time.perf_counter()
    return steps * BATCH / (time.perf_counter() - began)


def main() -> None:
    """Write the images, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), chosen.images, chosen.side)
        began = time.perf_counter()
        memory = pyrogen.load(folder)
        print(f"loading: {chosen.images / (time.perf_counter() - began):,.0f} images/s")
        began = time.perf_counter()
        with patch("pyrogen.data.memmap.DISK_THRESHOLD", 0):  # as if the folder were too large for the memory
            disk = pyrogen.load(folder)
        print(f"headers: {chosen.images / (time.perf_counter() - began):,.0f} images/s, with those held out decoded")
        print("| | batches alone, images/s | training, images/s |\n|---|---|---|")
        for name, data, workers in [
            ("in memory", memory, 0),
            *((f"on disk, {n} workers", disk, n) for n in chosen.workers),
        ]:
            rates = read(data, chosen.steps, workers), train(data, chosen.steps, workers)
            print(f"| {name} | {rates[0]:,.0f} | {rates[1]:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
