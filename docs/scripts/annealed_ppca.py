"""Annealed importance sampling of PPCA as a decoder, whose likelihood is known: the bound, its gap and the exact value.

python docs/scripts/annealed_ppca.py --data mnist --latent 10 50 --n 1000
"""

import argparse
import time

import torch

import pyrogen
from pyrogen.explicit import PPCA
from pyrogen.measure import ais


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--latent", type=int, nargs="+", default=(10, 50))
    parser.add_argument("--n", type=int, default=1000, help="test data, at random")
    parser.add_argument("--gap", type=float, default=1.0)
    given = parser.parse_args()
    data = pyrogen.load(given.data)
    x = data.train.tensors()[0]
    order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))
    rows = data.test.tensors()[0][order[: given.n]]
    print("| k | exact, all test data | exact, n | bound | gap | temperatures | seconds |")
    print("|---|---|---|---|---|---|---|")
    for k in given.latent:
        model = PPCA.from_data(x, k)
        whole = pyrogen.evaluate(model, data.test)["log_likelihood"]
        began = time.perf_counter()
        score = ais(model, rows, gap=given.gap, n=given.n)
        seconds = time.perf_counter() - began
        exact = float(model.log_prob(rows).mean())
        gap = f"{score.detail['gap']:.2f} ± {score.detail['gap_stderr']:.2f}"
        cells = (whole.value, exact, score.value)
        numbers = " | ".join(f"{value:.2f}" for value in cells)
        print(f"| {k} | {numbers} | {gap} | {score.detail['steps']} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
