"""Milliseconds per compiled step with the optimiser's update in the graph, and beside it, in turn.

python docs/scripts/update_in_graph.py                         # --smoke for a run of a few seconds
OMP_NUM_THREADS=1 python docs/scripts/update_in_graph.py --sizes 16:32
"""

import argparse
import time
from functools import partial
from statistics import median

import torch
from torch.optim import Adam

import pyrogen


def contender(hidden: int, in_graph: bool) -> pyrogen.SVI:
    """A compiled step of a VAE of 784 dimensions."""
    torch.manual_seed(0)
    vae = pyrogen.explicit.VAE((784,), latent=50 if hidden > 100 else 8, hidden=(hidden,))
    step = pyrogen.SVI(vae.model, vae.guide, partial(Adam, lr=1e-3), compile=True)
    x = torch.zeros(8, 784)
    step(x)
    if not in_graph:  # an optimiser with a hook makes its updates itself
        assert step.optimizer is not None
        step.optimizer.register_step_post_hook(lambda *_: None)
    return step


def main() -> None:
    """Print the medians of each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["400:64", "400:256", "400:1024"], help="hidden:batch")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    if args.smoke:
        args.sizes, args.steps = ["16:32"], 3
    for size in args.sizes:
        hidden, batch = map(int, size.split(":"))
        data = (torch.rand(20, batch, 784) < 0.13).float()
        steps = {"in the graph": contender(hidden, True), "beside it": contender(hidden, False)}
        times: dict[str, list[float]] = {name: [] for name in steps}
        for t in range(args.steps + 10):
            for name, step in steps.items():
                began = time.perf_counter()
                step(data[t % 20])
                times[name].append(1000 * (time.perf_counter() - began))
        found = ", ".join(f"{name} {median(values[10:]):.3f} ms" for name, values in times.items())
        print(f"{hidden} hidden units, batch {batch}: {found}", flush=True)


if __name__ == "__main__":
    main()
