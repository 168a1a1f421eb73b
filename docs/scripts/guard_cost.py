"""The cost of the guard against values that are not finite: a VAE's step with it and without it.

    OMP_NUM_THREADS=1 python docs/scripts/guard_cost.py --pairs 2000

Steps with and without the guard alternate, and the time is that of the processor (of the clock on a GPU), so that a
busy machine affects both alike; the ratio is that of the medians.
"""

import argparse
import time
from statistics import median

import torch

import pyrogen
from pyrogen.explicit import VAE


def unguarded(step: pyrogen.SVI) -> pyrogen.SVI:
    """The step with a guard that makes every update."""

    class NoGuard(type(step.guard)):
        def update(self, optimizer, losses, t, step):
            step()

    step.guard = NoGuard()
    return step


def milliseconds(step, batch, cuda: bool) -> float:
    """The time of one step."""
    clock = time.perf_counter if cuda else time.process_time
    began = clock()
    step(*batch)
    if cuda:
        torch.cuda.synchronize()
    return 1e3 * (clock() - began)


def main() -> None:
    """Time all four steps and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    print("| step | batch | with the guard, ms | without, ms | ratio |\n|---|---|---|---|---|")
    for compile in (False, True):
        for batch_size in (64, 256):
            device = "cuda" if cuda else "cpu"
            x = (torch.rand(batch_size, 784, device=device) < 0.3).float()
            models = [VAE((784,), latent=50, hidden=(400,)).to(device) for _ in range(2)]
            steps = [pyrogen.SVI(model.model, model.guide, compile=compile) for model in models]
            unguarded(steps[1])
            times: list[list[float]] = [[], []]
            for t in range(args.pairs + 20):
                for i in (0, 1) if t % 2 else (1, 0):
                    took = milliseconds(steps[i], (x,), cuda)
                    if t >= 20:
                        times[i].append(took)
            new, old = map(median, times)
            kind = "compiled" if compile else "eager"
            print(f"| {kind} | {batch_size} | {new:.2f} | {old:.2f} | {new / old:.3f} |", flush=True)


if __name__ == "__main__":
    main()
