"""The published numbers of statistically different bins on MNIST, reproduced.

    OMP_NUM_THREADS=1 PYROGEN_DATA=… python docs/scripts/ndb_mnist.py --splits 5

The demonstration of Richardson and Weiss ("On GANs and GMMs", NeurIPS 2018) splits the 60,000 training images into
45,000, whose k-means cells are the 100 bins, and 15,000, and takes 10,000 query images. Published: 0 for images of the
split, 4 for test images, 11 for images of the split without nines. A bin counts as different beyond three standard
errors by the text of the demonstration and beyond four by its code; both are measured, and the rule of the paper, a
significance of .05.
"""

import argparse
import os
from statistics import NormalDist

import torch

import pyrogen
from pyrogen.measure import Bins, ndb

PUBLISHED = {"held-out training images": (0, 0.0014), "test images": (4, 0.0041), "without nines": (11, 0.016)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=5, help="random splits of the training images")
    splits = parser.parse_args().splits
    data = pyrogen.load("mnist", os.environ.get("PYROGEN_DATA"))
    parts = [(data.space.to_comparable(x), y) for x, y, *_ in (part.tensors() for part in (data.train, data.valid))]
    x, y = (torch.cat(rows) for rows in zip(*parts, strict=True))
    test = data.space.to_comparable(data.test.tensors()[0])
    print("split  query                    3 s.e.  4 s.e.  published      JS  published  at .05  expected")
    for split in range(splits):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(split))
        fitted, held_out = order[:45_000], order[45_000:]
        bins = Bins(x[fitted], 100, seed=split)
        queries = (x[held_out[:10_000]], test, x[held_out[y[held_out] != 9][:10_000]])
        for (name, (number, divergence)), query in zip(PUBLISHED.items(), queries, strict=True):
            three, four = (ndb(query, bins, significance=2 * NormalDist().cdf(-errors)) for errors in (3, 4))
            usual = ndb(query, bins)
            print(
                f"{split:5d}  {name:23s} {three.value:7.0f} {four.value:7.0f} {number:10d} "
                f"{usual.detail['jensen_shannon']:7.4f} {divergence:10.4f} {usual.value:7.0f} "
                f"{usual.detail['expected']:9.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
