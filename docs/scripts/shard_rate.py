"""Training from a folder of shards beside training from memory: steps per second, and memory that is not of files.

OMP_NUM_THREADS=1 python docs/scripts/shard_rate.py --rows 10000000 --columns 16
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.optim import Adam

import pyrogen
from pyrogen.data import Split


def write(folder: Path, rows: int, columns: int, shards: int) -> None:
    """Normal vectors in ``.npy`` files."""
    draws = np.random.default_rng(0)
    for i in range(shards):
        np.save(folder / f"{i:04d}.npy", draws.standard_normal((rows // shards, columns), dtype=np.float32))


def own_megabytes() -> float:
    """The memory of this process that is not of files."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def steps_of(data: Split, columns: int, batch: int) -> Iterator[None]:
    """Training steps of a VAE of hidden layers of 400."""
    torch.manual_seed(0)
    likelihood = pyrogen.explicit.GaussianLikelihood("learned")
    vae = pyrogen.explicit.VAE((columns,), 8, (400, 400), likelihood)
    step = pyrogen.SVI(vae.model, vae.guide, partial(Adam, lr=1e-3), compile=False)
    for _ in pyrogen.fit(step, data, steps=10**9, batch_size=batch):
        yield


def main() -> None:
    """Write shards and print both rates and memories."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10**7)
    parser.add_argument("--columns", type=int, default=16)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), chosen.rows, chosen.columns, chosen.shards)
        before = own_megabytes()
        began = time.perf_counter()
        data = pyrogen.load(folder)
        print(f"loaded in {time.perf_counter() - began:.1f} s, {own_megabytes() - before:.0f} MiB of its own")
        sources = {"shards": steps_of(data.train, chosen.columns, chosen.batch)}
        for _ in range(10):
            next(sources["shards"])
        at_first = own_megabytes()
        for _ in range(2000):
            next(sources["shards"])
        print(f"after 10 steps {at_first - before:.0f} MiB, after 2010 steps {own_megabytes() - before:.0f} MiB")
        sources["memory"] = steps_of(Split(data.train.x[:]), chosen.columns, chosen.batch)
        next(sources["memory"])
        times: dict[str, list[float]] = {name: [] for name in sources}
        for _ in range(chosen.rounds):
            for name, source in sources.items():
                began = time.perf_counter()
                for _ in range(chosen.steps):
                    next(source)
                times[name].append(1e3 * (time.perf_counter() - began) / chosen.steps)
        middle = {name: statistics.median(found) for name, found in times.items()}
        print(", ".join(f"{name} {t:.3f} ms a step" for name, t in middle.items()))
        print(f"rate from shards / from memory: {middle['memory'] / middle['shards']:.3f}")


if __name__ == "__main__":
    main()
