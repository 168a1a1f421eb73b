"""What dimension costs a histogram: cells, data in each, and the distance from a density that is known.

The data are standard normal in d dimensions, 100,000 to train on and 10,000 to judge by. For each d the number of bins
is the best on another 10,000. Draws ``docs/images/histogram.png`` and prints the table of ``docs/models/histogram.md``.

    python docs/scripts/histogram_dimensions.py
"""

from math import log2
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from pyrogen.explicit import Gaussian, Histogram, KernelDensity

OUT = Path(__file__).parent.parent / "images" / "histogram.png"
BINS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256)
DIMENSIONS = range(1, 11)


@torch.no_grad()
def row(d: int) -> dict[str, float]:
    """The best histogram of d dimensions, and two models that are no tables."""
    generator = torch.Generator().manual_seed(d)
    train, valid, test = (torch.randn(n, d, generator=generator) for n in (100_000, 10_000, 10_000))
    truth = torch.distributions.Normal(0.0, 1.0).log_prob(test).sum(1).mean()
    tried = [Histogram.from_data(train, bins) for bins in BINS if bins**d <= Histogram.MAX_CELLS]
    best = max(tried, key=lambda model: float(model.log_prob(valid).mean()))
    kernel = KernelDensity.from_data(train[:10_000], valid[:2000])
    return {
        "bins": best.bins,
        "cells": best.bins**d,
        "empty": float((best.frequency == 0).float().mean()),
        "histogram": float(truth - best.log_prob(test).mean()),
        "kernel": float(truth - kernel.log_prob(test).mean()),
        "gaussian": float(truth - Gaussian.from_data(train, "full").log_prob(test).mean()),
    }


def main() -> None:
    """Measure, print and draw."""
    rows = {d: row(d) for d in DIMENSIONS}
    for d, r in rows.items():
        print(
            f"| {d} | {r['bins']} | {r['cells']:,} | {r['empty']:.0%} | {r['histogram']:.3f} | {r['kernel']:.3f} "
            f"| {r['gaussian']:.4f} |"
        )
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name, label in (("histogram", "histogram"), ("kernel", "kernel density (10,000 centres)")):
        left.plot(rows.keys(), [r[name] for r in rows.values()], "o-", label=label)
    left.set(xlabel="dimensions d", ylabel="distance from the truth (nats)", title="Error", xticks=DIMENSIONS)
    left.legend(frameon=False)
    for bins in (8, 32):
        right.semilogy(DIMENSIONS, [bins**d for d in DIMENSIONS], "--", color="grey", lw=1)
        end = min(10, int(36 / log2(bins)))
        right.annotate(f"{bins} bins ", (end, bins**end), fontsize=8, color="grey", ha="right", va="bottom")
    right.semilogy(rows.keys(), [r["cells"] for r in rows.values()], "o-", label="best number of bins")
    right.axhline(Histogram.MAX_CELLS, color="black", lw=1)
    right.annotate("the most that pyrogen counts", (1, Histogram.MAX_CELLS), fontsize=8, va="bottom")
    right.axhline(100_000, color="black", lw=1, ls=":")
    right.annotate("training data", (1, 100_000), fontsize=8, va="bottom")
    right.set(xlabel="dimensions d", ylabel="cells", title="Cost", xticks=DIMENSIONS, ylim=(5, 1e12))
    right.legend(frameon=False, loc="upper left")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(OUT, dpi=150)


if __name__ == "__main__":
    main()
