"""Memory and open files of one long run, and of many models one after another in one process (Linux).

    OMP_NUM_THREADS=1 python docs/scripts/soak.py run --steps 20000
    OMP_NUM_THREADS=1 python docs/scripts/soak.py models --count 30

Memory is the anonymous memory of the process: pages of files come and go with what else the machine does.
"""

import argparse
import gc
import os
import tempfile
from pathlib import Path

import torch
from torch import nn

import pyrogen
from pyrogen.explicit import VAE
from pyrogen.training import Run, configure, train


def anonymous() -> float:
    """The anonymous memory of this process in MiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Anonymous")).split()[1]) / 1024


def report(rows: list[tuple[str, float, int]], warm: int) -> None:
    """Print the rows, and the growth from row ``warm`` on."""
    for name, memory, files in rows:
        print(f"{name:>8}  {memory:8.1f} MiB  {files:3d} open files")
    (_, first, before), (_, last, after) = rows[warm], rows[-1]
    print(f"growth after {rows[warm][0]}: {last / first - 1:+.2%} of memory, {after - before:+d} open files")


def state(name: str) -> tuple[str, float, int]:
    """A row: memory after a collection, and the open files."""
    gc.collect()
    return name, anonymous(), len(os.listdir("/proc/self/fd"))


def soak_run(steps: int, compile: bool) -> None:
    """One run with all its checkpoints and pictures; warm after the first curves, at a quarter and a twentieth."""
    rows = []

    def watch(row: dict[str, float]) -> None:
        if row["t"] % max(steps // 20, 1) == 0:
            rows.append(state(str(row["t"])))

    with tempfile.TemporaryDirectory() as folder:
        options = {"steps": steps, "batch_size": 64, "hidden": (32,), "latent": 2}
        train(Run.create(Path(folder) / "run", configure("vae", "digits", compile=compile, options=options)), watch)
    report(rows, warm=5)


def soak_models(count: int) -> None:
    """Models of two kinds, eager and compiled, trained for a few steps each; warm after the first eight."""
    x = (torch.rand(64, 20) < 0.3).float()
    rows = []
    for i in range(count):
        if i % 4 < 2:
            vae = VAE((20,), latent=2, hidden=(8,))
            step: pyrogen.Step = pyrogen.SVI(vae.model, vae.guide, compile=i % 4 == 1)
        else:
            players = nn.Linear(2, 20), nn.Linear(20, 1)
            step = pyrogen.AdversarialGame(*players, lambda n: torch.randn(n, 2), compile=i % 4 == 3)
        for _ in pyrogen.fit(step, x, steps=6, batch_size=32):
            pass
        rows.append(state(str(i + 1)))
    report(rows, warm=7)


def main() -> None:
    """Parse the command line and soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "models"))
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--compile", action="store_true", help="of the run")
    args = parser.parse_args()
    soak_run(args.steps, args.compile) if args.what == "run" else soak_models(args.count)


if __name__ == "__main__":
    main()
