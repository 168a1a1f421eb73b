"""Debiasing: rare data are drawn more often, found without labels by how rare their codes are.

A hundredth of the training images is rotated by 90°, and nothing says which. Each image has a weight by the inverse
density of its code by PPCA. A classifier is trained on images drawn in proportion to the weights, and another on all
images alike.

    python examples/debiasing.py                          # --smoke for a run of a few seconds
    python examples/debiasing.py --data mnist --seeds 10
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import pyrogen
from pyrogen import use
from pyrogen.data import Dataset
from pyrogen.explicit import PPCA
from pyrogen.measure import Classifier, get_classifier
from pyrogen.report import samples_png

SHARE = 0.01


def planted(data: Dataset, rows: int, seed: int) -> tuple[Dataset, Tensor]:
    """The data set with some training rows, and which of them are rotated, ``bool (rows,)``."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:rows]
    train = data.train.select(order)
    rotated = torch.arange(len(order)) < SHARE * len(order)
    x = torch.where(rotated.view(-1, 1, 1, 1), train.x[:].rot90(1, (-2, -1)), train.x[:])
    return replace(data, train=replace(train, x=x, keys=None)), rotated


def errors(classifier: Classifier, data: Dataset) -> tuple[float, float]:
    """The error on rotated test images, and on the whole distribution, in per cent."""
    x, y, *_ = data.test.tensors()
    images = data.space.to_comparable(x)
    plain, group = (
        float((classifier(part)[1].argmax(1) != y).float().mean()) * 100 for part in (images, images.rot90(1, (-2, -1)))
    )
    return group, SHARE * group + (1 - SHARE) * plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="labelled square images")
    parser.add_argument("--data-root")
    parser.add_argument("--rows", type=int, default=50_000, help="training images at most")
    parser.add_argument("--latent", type=int, default=64, help="dimensions of the codes, at most")
    parser.add_argument("--alpha", type=float, default=0.02, help="the smaller, the stronger")
    parser.add_argument("--steps", type=int, default=500, help="of each classifier")
    parser.add_argument("--seeds", type=int, default=3, help="of the group, from 1 on")
    parser.add_argument("--out", type=Path, default=Path("runs/examples/debiasing"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps, seeds = (30, 1) if args.smoke else (args.steps, args.seeds)

    data, results = pyrogen.load(args.data, args.data_root), []
    for seed in range(1, seeds + 1):
        given, rotated = planted(data, args.rows, seed)
        x = given.train.tensors()[0]
        model = PPCA.from_data(x, min(args.latent, data.dims - 1))
        weights = use.debiasing_weights(model, x, alpha=args.alpha)
        weighted = replace(given, train=replace(given.train, weights=weights))
        found = [get_classifier(part, args.out / "classifiers", steps=steps) for part in (given, weighted)]
        plain, debiased = (errors(classifier, data) for classifier in found)
        results.append([*plain, *debiased])
        samples_png(data.space.to_user(x[weights.argsort(descending=True)[:64]]), path=args.out / "heaviest.png")
        print(
            f"seed {seed}: the group has {float(weights[rotated].sum() / weights.sum()):.1%} of the weight; error on "
            f"the group {plain[0]:.2f}% → {debiased[0]:.2f}%, on all {plain[1]:.2f}% → {debiased[1]:.2f}%",
            flush=True,
        )
    table = torch.tensor(results)
    mean, spread = table.mean(0).tolist(), (table.std(0) / len(table) ** 0.5).tolist() if seeds > 1 else [0.0] * 4
    for i, name in enumerate(("on the group", "on all")):
        print(
            f"error {name}, {seeds} seeds: {mean[i]:.2f} ± {spread[i]:.2f}% alike, "
            f"{mean[i + 2]:.2f} ± {spread[i + 2]:.2f}% weighted"
        )
    print(f"the 64 images of the greatest weight, of the last seed: {args.out / 'heaviest.png'}")


if __name__ == "__main__":
    main()
