"""Measurements that need a process of their own, which prints one JSON object."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.optim import Adam

from pyrogen.bench.pairs import pyrogen_contender
from pyrogen.bench.timing import synchronise
from pyrogen.bench.workloads import PAIRS
from pyrogen.data.loading import load
from pyrogen.data.memmap import MemoryMapped
from pyrogen.explicit.likelihoods import DiscretizedLogisticLikelihood
from pyrogen.explicit.vae import VAE
from pyrogen.steps.svi import SVI
from pyrogen.training.loop import fit

WARM_UP = 20
"""Warm-up steps, which are not timed and include compilation."""


def run_in_subprocess(job: str, *arguments: object, cache: Path | None = None) -> dict[str, Any]:
    """Run ``job`` in a new process and return its result.

    Args:
        job: ``first_steps`` or ``training_rate``.
        arguments: the arguments of that function.
        cache: the compiler's cache folder; by default its usual one.
    """
    folders = {} if cache is None else {"TORCHINDUCTOR_CACHE_DIR": str(cache), "TRITON_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "pyrogen.bench.subprocess_runs", job, json.dumps(arguments)]
    done = subprocess.run(command, env=os.environ | folders, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def first_steps(workload: str, batch_size: int, device: str, compile: bool) -> dict[str, Any]:
    """Measure the seconds of steps 2 and 3, which include compilation, and the peak memory in MiB."""
    contender = pyrogen_contender(PAIRS[workload](batch_size, torch.device(device)), compile)
    seconds = []
    for t in range(WARM_UP):
        start = time.perf_counter()
        contender.step(t)
        contender.finish()
        seconds.append(time.perf_counter() - start)
    on_card = device.startswith("cuda")
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if on_card else memory("VmHWM")
    return {"seconds": sum(seconds[1:3]), "peak": peak}


def training_rate(file: str, batch_size: int, device: str, seconds: float) -> dict[str, Any]:
    """Measure examples per second of a VAE trained on ``file``, and the anonymous memory in MiB."""
    start = time.perf_counter()
    data = load(file).to(device)
    loading = time.perf_counter() - start
    torch.manual_seed(0)
    vae = VAE(data.shape, 32, (400,), DiscretizedLogisticLikelihood(256)).to(device)
    step = SVI(vae.model, vae.guide, partial(Adam, lr=1e-3, fused=True), compile=True)
    for t, _ in fit(step, data.train, steps=sys.maxsize, batch_size=batch_size):
        if t <= WARM_UP:
            synchronise()
            start = time.perf_counter()
        elif time.perf_counter() - start > seconds:
            break
    synchronise()
    rate = (t - WARM_UP) * batch_size / (time.perf_counter() - start)
    where = "on disk" if isinstance(data.train.x, MemoryMapped) else "in memory"
    return {"rate": rate, "loading": loading, "anonymous": memory("RssAnon"), "where": where}


def memory(name: str) -> float:
    """Return a value of ``/proc/self/status`` in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name + ":")).split()[1]) / 1024


if __name__ == "__main__":
    job = {"first_steps": first_steps, "training_rate": training_rate}[sys.argv[1]]
    print(json.dumps(job(*json.loads(sys.argv[2]))))
