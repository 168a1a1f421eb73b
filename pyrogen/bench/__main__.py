"""``python -m pyrogen.bench``: one table of milliseconds per training step, all contenders in one run."""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator
from datetime import date

import torch

from pyrogen.bench import others, vae
from pyrogen.bench.numpyro_vae import numpyro
from pyrogen.bench.timing import Contender, Timing, race, timed
from pyrogen.infer.arithmetic import processor

WORKLOADS = ("vae", "conv-vae", "wgan-gp", "dcgan")


def makers(workload: str, batch_size: int, device: torch.device) -> Iterator[Callable[[], Contender]]:
    """Everybody who does this workload."""
    if workload in ("wgan-gp", "dcgan"):
        yield from others.games(workload, batch_size, device)
        return
    if workload == "conv-vae":
        yield from vae.contenders(batch_size, device, hidden=32, conv=True)
        return
    yield from vae.contenders(batch_size, device)
    yield lambda: vae.matmuls(batch_size, device)
    if device.type == "cpu":
        yield lambda: numpyro(batch_size)
        yield lambda: numpyro(batch_size, scan=False)
        yield lambda: vae.pythae(batch_size)
        yield lambda: vae.with_loader(batch_size)


def run(workload: str, batch_size: int, device: torch.device, rounds: int, seconds: float) -> list[Timing]:
    """Race everybody who is installed."""
    present = []
    for make in makers(workload, batch_size, device):
        try:
            present.append(timed(make))
        except (ImportError, RuntimeError, FileNotFoundError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            print(f"left out of {workload}: {reason}", file=sys.stderr)
    return race(present, rounds, seconds)


def table(workload: str, batch_size: int, timings: list[Timing]) -> str:
    """Markdown, fastest first; ratios are pyrogen compiled's time over the contender's."""
    ours = timings[0].milliseconds
    rows = sorted(timings, key=lambda t: t.milliseconds)
    lines = [
        f"**{workload}, batch {batch_size}**\n",
        "| | ms per step | fastest, slowest round | first steps, s | pyrogen compiled takes |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {t.name} | {t.milliseconds:.2f} | {t.fastest:.2f}, {t.slowest:.2f} | {t.setup_seconds:.1f} "
        f"| {ours / t.milliseconds:.2f}× |"
        for t in rows
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Run the workloads asked for, and print their tables."""
    parser = argparse.ArgumentParser(prog="python -m pyrogen.bench", description=__doc__)
    parser.add_argument("workloads", nargs="*", default=WORKLOADS, help=f"of {', '.join(WORKLOADS)}; all by default")
    parser.add_argument("--batch-size", type=int, nargs="+", default=None, help="vae: 64 256 1024; others: 128")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender; the median is shown")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", help="also write the times to this file")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.workloads) - set(WORKLOADS)
    if unknown:
        parser.error(f"no workload {sorted(unknown)[0]!r}: give some of {', '.join(WORKLOADS)}")
    device = torch.device(chosen.device)
    place = torch.cuda.get_device_name() if device.type == "cuda" else processor() or platform.processor()
    print(f"{place}, {torch.get_num_threads()} threads, torch {torch.__version__}, {date.today()}\n")
    results = []
    for workload in chosen.workloads:
        for batch_size in chosen.batch_size or ((64, 256, 1024) if workload == "vae" else (128,)):
            timings = run(workload, batch_size, device, chosen.rounds, chosen.seconds)
            print(table(workload, batch_size, timings), flush=True)
            results += [{"workload": workload, "batch_size": batch_size, **vars(t)} for t in timings]
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
