"""Interpolation between images and altering their class, in the codes of a VAE, of an autoencoder, and in pixels.

Is the middle between images of two classes an image of some class? A classifier's greatest class probability says so.
Altered images are read by the same classifier; slant and thickness say what is kept of the original.

    python examples/interpolation.py                 # --smoke for a run of a few seconds
    python examples/interpolation.py --data mnist --steps 8000
"""

import argparse
from math import comb
from pathlib import Path

import torch
from torch import Tensor

import pyrogen
from pyrogen import use
from pyrogen.data import Dataset
from pyrogen.measure import Classifier, get_classifier
from pyrogen.report import grid_png
from pyrogen.training import open_or_train

CONFIDENT = 0.9


def pairs_of_classes(y: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The rows of n random pairs of different classes."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    first, last = order[: len(y) // 2], order[len(y) // 2 : len(y) // 2 * 2]
    differ = y[first] != y[last]
    return first[differ][:n], last[differ][:n]


def mcnemar(a: int, b: int) -> float:
    """The exact p-value of McNemar's test: pairs of which one alone is read, by either model, are equally frequent."""
    as_unequal = sum(comb(a + b, i) for i in range(min(a, b) + 1))
    return float(min(1.0, 2 * as_unequal / 2 ** (a + b)))


def midpoints(data: Dataset, models: dict[str, object], classifier: Classifier, n: int, out: Path) -> None:
    """Compare the classifier's confidence in the middle of paths, pair by pair."""
    x, y = data.test.tensors()[:2]
    first, last = pairs_of_classes(y, n)
    paths = {name: use.interpolate(model, x[first], x[last], steps=9) for name, model in models.items()}
    middle = {name: path.confidence(classifier, data.space)[:, 4] for name, path in paths.items()}
    middle["pixels"] = classifier(data.space.to_comparable((x[first] + x[last]) / 2))[1].amax(1).exp()
    for name, confidence in middle.items():
        share = float((confidence >= CONFIDENT).float().mean())
        print(f"midpoints of {len(first)} pairs, {name}: {share:.1%} read with a confidence of at least {CONFIDENT}")
    ours, *rest = middle
    for other in rest:
        a, b = middle[ours] >= CONFIDENT, middle[other] >= CONFIDENT
        only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
        print(f"{ours} alone: {only_a} pairs; {other} alone: {only_b}; p = {mcnemar(only_a, only_b):.2g}")
    images = torch.cat([torch.cat([path.data[i] for path in paths.values()]) for i in range(8)])
    grid_png(data.space.to_user(images), out / "paths.png", columns=9)


def slant(images: Tensor) -> Tensor:
    """The horizontal displacement of ink per row, from second moments, ``(n,)``."""
    ink = images.mean(1) / images.mean(1).sum((1, 2), keepdim=True).clamp_min(1e-9)
    rows, columns = torch.arange(ink.shape[1]) * 1.0, torch.arange(ink.shape[2]) * 1.0
    down = rows[:, None] - (ink.sum(2) @ rows)[:, None, None]
    right = columns - (ink.sum(1) @ columns)[:, None, None]
    return -(ink * down * right).sum((1, 2)) / (ink * down.square()).sum((1, 2)).clamp_min(1e-9)


def thickness(images: Tensor) -> Tensor:
    """Ink per length of its edges, in pixels, ``(n,)``."""
    ink = images.mean(1)
    edges = ink.diff(dim=1).abs().sum((1, 2)) + ink.diff(dim=2).abs().sum((1, 2))
    return 2 * ink.sum((1, 2)) / edges.clamp_min(1e-9)


def kept(of: Tensor, altered: Tensor) -> float:
    """The correlation of a property of altered images with that of the originals."""
    return float(torch.corrcoef(torch.stack([of, altered]))[0, 1])


def altering(data: Dataset, model: object, classifier: Classifier, n: int, out: Path) -> None:
    """Alter images of each class to each other one, and report how many are read as it, and what else is kept."""
    (x, y), (train, labels) = data.test.tensors()[:2], data.train.tensors()[:2]
    user, classes = data.space.to_user, range(len(data.classes))
    by_class = [train[labels == label] for label in classes]
    originals = [x[y == label][: max(n // len(classes) ** 2, 2)] for label in classes]
    pairs, sheet = [(source, target) for source in classes for target in classes if source != target], []
    for name in ("towards the mean code of the class", "along the difference of both classes"):
        read, before, after = [], [], []
        for source, target in pairs:
            lacking = by_class[source] if name.startswith("along") else None
            altered = use.alter(model, originals[source], by_class[target], lacking)
            read.append(classifier(data.space.to_comparable(altered))[1].argmax(1) == target)
            before.append(user(originals[source]))
            after.append(user(altered))
            if target == source + 1 and source < 4:
                one = originals[source][:1]
                sheet += [one, *(use.alter(model, one, by_class[target], lacking, alpha=a / 4) for a in range(6))]
        share, a, b = float(torch.cat(read).float().mean()), torch.cat(before), torch.cat(after)
        print(
            f"altered {name}, α = 1: {share:.1%} of {len(a)} read as the class; correlation with the original "
            f"of slant {kept(slant(a), slant(b)):.2f}, of thickness {kept(thickness(a), thickness(b)):.2f}"
        )
    grid_png(user(torch.cat(sheet)), out / "altered.png", columns=7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="labelled images")
    parser.add_argument("--data-root")
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--n", type=int, default=2000, help="pairs, and altered images")
    parser.add_argument("--runs", nargs="*", default=[], metavar="NAME=DIR", help="trained runs of models, by name")
    parser.add_argument("--out", type=Path, default=Path("runs/examples/interpolation"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    options = {"steps": 20 if args.smoke else args.steps, "latent": args.latent, "hidden": (512, 512)}

    data = pyrogen.load(args.data, args.data_root)
    args.out.mkdir(parents=True, exist_ok=True)
    models = {name: pyrogen.open(run).model for name, run in (pair.split("=") for pair in args.runs)}
    for name in ("vae", "autoencoder"):
        if name not in models:
            run = open_or_train(args.out / name, name, args.data, data_root=args.data_root, options=options)
            models[name] = run.model
    cache = args.out / "classifier" if args.smoke else None
    classifier = get_classifier(data, cache, steps=50 if args.smoke else None)
    midpoints(data, models, classifier, args.n, args.out)
    altering(data, models["vae"], classifier, args.n, args.out)
    print(f"8 paths by each model, and originals beside α = 0 … 1.25: {args.out / 'paths.png'} and altered.png")


if __name__ == "__main__":
    main()
