"""Times of training steps on a device beside their lower bounds, and what they say of an epoch."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch

from pyrogen.bench import steps
from pyrogen.bench.gpu.agreement import checks
from pyrogen.bench.gpu.floors import Floors, Rates, floors, measure
from pyrogen.bench.timing import Timing
from pyrogen.bench.workloads import contender_makers

WORKLOADS = ("vae", "cvae", "wgan-gp", "dcgan")
BATCH_SIZE = 256
EXAMPLES, EPOCHS = 60_000, 100
"""The size of MNIST, and the epochs whose time is given."""


def failures(device: torch.device) -> Iterator[str]:
    """Run every check of ``agreement``, print its result, and yield those that fail."""
    for name, check in checks(device):
        try:
            check()
        except Exception as error:  # an operator that the device lacks is a failure as well
            what = next(iter(str(error).splitlines()), "")
            print(f"FAILED  {name}: {type(error).__name__}: {what}", flush=True)
            yield name
        else:
            print(f"agrees  {name}", flush=True)


def run(
    workload: str, batch_size: int, device: torch.device, rates: Rates, rounds: int, seconds: float
) -> tuple[list[Timing], Floors]:
    """Time all implementations of a workload, and compute the lower bounds of a step."""
    eager = next(
        contender
        for make in contender_makers(workload, batch_size, device)
        if (contender := make()).name == "pyrogen eager"
    )
    eager.step(0)
    bounds = floors(partial(eager.step, 1), rates)
    return steps.run(workload, batch_size, device, rounds, seconds), bounds


def rates_of(device: torch.device) -> Rates:
    """Measure the device and print its rates."""
    rates = measure(device)
    print(
        f"{rates.flops / 1e12:.2f} TFLOP/s in float32 products, {rates.bandwidth / 1e9:,.0f} GB/s, "
        f"{1e6 * rates.launch:.1f} µs an operator\n"
    )
    return rates


def table(workload: str, batch_size: int, timings: Sequence[Timing], bounds: Floors) -> str:
    """The times as a Markdown table, with the lower bounds below it."""
    floor = max(bounds.arithmetic, bounds.memory)
    compiled = 1e3 * timings[0].milliseconds
    lines = [
        steps.table(workload, batch_size, timings),
        f"Lower bounds in µs: arithmetic {bounds.arithmetic:.1f} ({bounds.flops:,} operations), memory "
        f"{bounds.memory:.1f} ({bounds.weights:,} weights), launches {bounds.launches:.0f} ({bounds.operators} eager "
        f"operators). pyrogen compiled takes {compiled:.0f}, {compiled / floor:.1f} times the larger of the first two.",
    ]
    for timing in timings:
        if timing.name == "pyrogen compiled, with its data":
            epochs = EPOCHS * (EXAMPLES // batch_size) * timing.milliseconds / 1e3
            lines.append(f"{EPOCHS} epochs of {EXAMPLES:,} images at this rate: {epochs:.1f} s.")
    return "\n".join(lines) + "\n"
