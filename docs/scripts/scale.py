"""The time of a training step on several processes: measured on two, and a model of it for many.

    t(W) = t_1 + min(ring, tree) + 4 log₂(W) latency
    ring = 2 (W - 1) / W · bytes / bandwidth + 2 (W - 1) latency
    tree = 2 bytes / bandwidth + 2 log₂(W) latency

with t_1 the time of a step without communication, then the sum of the gradients, and last the two short messages of a
step (its logged scalars; whether a signal has come).

    OMP_NUM_THREADS=1 python docs/scripts/scale.py measure     # two processes on this machine
    python docs/scripts/scale.py model                         # the tables of docs/scale.md
"""

import argparse
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch.optim import Adam

from pyrogen import SVI, fit
from pyrogen.data import Split
from pyrogen.explicit import VAE, BernoulliLikelihood
from pyrogen.objectives import BetaELBO

ROWS, LATENT, HIDDEN = 8192, 50, 400


def vae_step(compiled: bool) -> SVI:
    """The step of the VAE 784-400-50."""
    torch.manual_seed(0)
    vae = VAE((1, 28, 28), LATENT, (HIDDEN,), BernoulliLikelihood())
    return SVI(vae.model, vae.guide, partial(Adam, lr=1e-3), BetaELBO(), compile=compiled)


@contextmanager
def alone() -> Iterator[None]:
    """Train in this process as if there were no other."""
    with patch.object(dist, "is_initialized", lambda: False):
        yield


def milliseconds(step: SVI, data: Split, batch_size: int, steps: int) -> float:
    """The mean time of a step."""
    began = time.perf_counter()
    for _ in fit(step, data, steps=steps, batch_size=batch_size):
        pass
    return 1e3 * (time.perf_counter() - began) / steps


def process(rank: int, folder: str, batch: int, steps: int, rounds: int, compiled: bool) -> None:
    """One of two processes, which train by themselves and together in turn; the first writes what was measured."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    data = Split((torch.rand(ROWS, 1, 28, 28, generator=torch.Generator().manual_seed(0)) < 0.3).float())
    together, by_itself = vae_step(compiled), vae_step(compiled)
    found: dict[str, list[float]] = {"alone": [], "together": []}
    for i in range(rounds + 1):  # the first compiles
        dist.barrier()
        with alone():
            one = milliseconds(by_itself, data, batch, steps)
        dist.barrier()
        two = milliseconds(together, data, 2 * batch, steps)
        if i:
            found["alone"].append(one)
            found["together"].append(two)
    found |= messages()
    if rank == 0:
        Path(folder, "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def messages() -> dict[str, list[float]]:
    """The times of sums over the processes, milliseconds, by the number of values."""
    found = {}
    for n in (1, 1_000_000):
        x, times = torch.randn(n), []
        for _ in range(30):
            dist.barrier()
            began = time.perf_counter()
            dist.all_reduce(x)
            times.append(1e3 * (time.perf_counter() - began))
        found[f"sum of {n}"] = times
    return found


def measure(batch: int, steps: int, rounds: int, compiled: bool) -> None:
    """Print the efficiency of two processes, and the latency and bandwidth between them."""
    context = multiprocessing.get_context("spawn")
    with TemporaryDirectory() as folder:
        started = [context.Process(target=process, args=(r, folder, batch, steps, rounds, compiled)) for r in (0, 1)]
        for one in started:
            one.start()
        for one in started:
            one.join()
        found = json.loads(Path(folder, "found.json").read_text())
    middle = {name: statistics.median(times) for name, times in found.items()}
    for name, times in found.items():
        print(f"{name}: median {middle[name]:.3f} ms, fastest {min(times):.3f} ms")
    print(f"efficiency: {middle['alone'] / middle['together']:.3f}")
    print(f"bandwidth of a sum: {4e6 / (1e6 * (middle['sum of 1000000'] - middle['sum of 1'])):.2f} GB/s")


def step_seconds(world: int, compute: float, size: float, bandwidth: float, latency: float) -> float:
    """t(W), seconds.

    Args:
        world: W.
        compute: t_1, seconds.
        size: of the gradients, bytes.
        bandwidth: of each process in each direction, bytes a second.
        latency: of a message, seconds.
    """
    ring = 2 * (world - 1) / world * size / bandwidth + 2 * (world - 1) * latency
    tree = 2 * size / bandwidth + 2 * math.log2(world) * latency
    return compute + min(ring, tree) + 4 * math.log2(world) * latency


NETWORKS = {
    "gloo, one host (measured)": (0.0, 0.0),  # filled in from the command line
    "NVLink 4, 8 GPUs of a host": (450e9, 3e-6),
    "InfiniBand NDR, one 400 Gb/s port a GPU": (50e9, 5e-6),
}


def model(arguments: argparse.Namespace) -> None:
    """Print the tables of ``docs/scale.md``."""
    networks: dict[str, Any] = {**NETWORKS, next(iter(NETWORKS)): (arguments.bandwidth * 1e9, arguments.latency * 1e-6)}
    compute = {"gloo": arguments.cpu_ms / 1e3}
    print("| Network | t_1, ms | " + " | ".join(f"W = {w}" for w in (2, 4, 8, 64)) + " |\n|---|---|---|---|---|---|")
    for name, (bandwidth, latency) in networks.items():
        one = compute.get(name.split(",")[0], arguments.gpu_ms / 1e3)
        cells = []
        for world in (2, 4, 8, 64):
            t = step_seconds(world, one, arguments.megabytes * 1e6, bandwidth, latency)
            cells.append(f"{1e3 * t:.3g} ms, {one / t:.0%}")
        print(f"| {name} | {1e3 * one:.3g} | {' | '.join(cells)} |")
    print()
    for world, name in ((8, "NVLink 4, 8 GPUs of a host"), (64, "InfiniBand NDR, one 400 Gb/s port a GPU")):
        t = step_seconds(world, arguments.gpu_ms / 1e3, arguments.megabytes * 1e6, *networks[name])
        rate = world * arguments.batch / t
        hours = arguments.rows / rate / 3600
        print(
            f"{world} GPUs: {rate:.3g} rows/s, {arguments.rows:.0e} rows in {60 * hours:.3g} minutes, "
            f"{world * hours:.3g} GPU hours, {world * hours * arguments.price:.3g} $; "
            f"reads {rate * arguments.row_bytes / 1e9:.3g} GB/s"
        )


def main() -> None:
    """Measure, or print the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "model"))
    parser.add_argument("--batch", type=int, default=1024, help="rows of a process")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--cpu-ms", type=float, default=20.0, help="measured t_1 on a core")
    parser.add_argument("--gpu-ms", type=float, default=0.2, help="assumed t_1 on a GPU")
    parser.add_argument("--bandwidth", type=float, default=2.0, help="measured, GB/s")
    parser.add_argument("--latency", type=float, default=100.0, help="measured, µs")
    parser.add_argument("--megabytes", type=float, default=2.84, help="of the gradients")
    parser.add_argument("--rows", type=float, default=1e9)
    parser.add_argument("--row-bytes", type=float, default=784)
    parser.add_argument("--price", type=float, default=2.5, help="of a GPU hour, $")
    arguments = parser.parse_args()
    if arguments.what == "measure":
        measure(arguments.batch, arguments.steps, arguments.rounds, not arguments.eager)
    else:
        model(arguments)


if __name__ == "__main__":
    main()
