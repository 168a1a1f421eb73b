"""Completion, super-resolution and colourisation as one inverse problem: y = A x + noise is seen, x is asked.

Half of each image is seen, or means of blocks of pixels, or the mean of the channels. Each model gives draws from
p(x | y) and their mean. Printed are the squared error of the mean, and how often a classifier reads the class of the
original in the mean and in a draw.

The channels of stacked digits are three independent digits, so that p(x | y) does not change if channels change places,
and E[x | y] is y in each of them: no mean is better than grey. Which three digits they are can be known, but not their
order: draws are averaged in the order of channels that is nearest to the first draw, and what is restored is judged in
the order that is nearest to the original.

    python examples/restoration.py                              # --smoke for a run of a few seconds
    python examples/restoration.py --data mnist --factor 4 --steps 8000
    python examples/restoration.py --data stacked-digits
"""

import argparse
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import pyrogen
from pyrogen import use
from pyrogen.data import Dataset
from pyrogen.explicit import PPCA
from pyrogen.measure import Classifier, get_classifier
from pyrogen.report import grid_png
from pyrogen.training import open_or_train

NOISE = 0.15
"""The noise that is assumed in what is seen, for decoders without: how closely draws must fit."""


@dataclass(frozen=True)
class Task:
    """Images of which a part is seen.

    Args:
        x: the images, in model coordinates.
        operator: A.
    """

    x: Tensor
    operator: Any

    @property
    def seen(self) -> Tensor:
        """What is seen, A x."""
        seen: Tensor = self.operator(self.x)
        return seen


class Stacked(nn.Module):
    """Independent channels, each an image of one model: z holds a code for each.

    Args:
        model: of one channel, with ``decode``.
        channels: how many.
    """

    def __init__(self, model: Any, channels: int) -> None:
        super().__init__()
        self.model, self.channels, self.latent = model, channels, channels * model.latent

    def decode(self, z: Tensor) -> Tensor:
        """E[x | z], ``(n, channels, height, width)``."""
        x: Tensor = self.model.decode(z.view(-1, self.model.latent))
        return x.view(len(z), self.channels, *x.shape[2:])


def in_order(images: Tensor, original: Tensor) -> Tensor:
    """The images with their channels in the order that is nearest to the original."""
    orders = torch.stack([images[:, list(order)] for order in permutations(range(images.shape[1]))], 1)
    nearest = (orders - original[:, None]).square().flatten(2).sum(2).argmin(1)
    return orders[torch.arange(len(images)), nearest]


def nearest(task: Task, train: Tensor) -> Tensor:
    """The training image whose seen part is nearest."""
    seen = task.operator(train).flatten(1)
    index = torch.cdist(task.seen.flatten(1), seen).argmin(1)
    return train[index]


def baseline(task: Task, train: Tensor) -> tuple[str, Tensor]:
    """The mean image where nothing is seen, bicubic interpolation of blocks, or grey channels."""
    if isinstance(task.operator, use.Mask):
        return "mean image", torch.where(task.operator.seen, task.x, train.mean(0))
    if isinstance(task.operator, use.Downsample):
        size = (task.x.shape[-2], task.x.shape[-1])
        return "bicubic", F.interpolate(task.seen, size=size, mode="bicubic", antialias=False).clamp(0, 1)
    return "grey", task.seen.expand_as(task.x)


def read(classifier: Classifier, images: Tensor, stacked: bool) -> Tensor:
    """The class that is read in each image; of stacked images in each channel, ``(n, channel)``."""
    singles = images.flatten(0, 1)[:, None] if stacked else images
    found = classifier(singles)[1].argmax(1)
    return found.view(len(images), -1)


def show(name: str, task: Task, mean: Tensor, draw: Tensor | None, data: Dataset, classifier: Classifier) -> None:
    """Print squared errors, and the share of images whose class is kept."""
    stacked, user = data.shape[0] > 1, data.space.to_user
    original = read(classifier, user(task.x), stacked)
    images = {"the mean": mean}
    if draw is not None:
        images["a draw"] = draw
    for what, given in images.items():
        x = in_order(given, task.x) if stacked else given
        kept = float((read(classifier, user(x), stacked) == original).float().mean())
        error = float((x - task.x).square().mean())
        print(f"  {name:24} {what:8} squared error {error:.4f}; class kept: {kept:.1%}", flush=True)


def restore(
    title: str,
    task: Task,
    data: Dataset,
    models: dict[str, tuple[Any, float]],
    classifier: Classifier,
    out: Path,
    draws: int,
) -> None:
    """Restore by baselines and by models with their noise; write a sheet with a row for each image."""
    train = data.train.tensors()[0][:20_000]
    name, simple = baseline(task, train)
    print(f"{title}, {len(task.x)} test images:")
    show(name, task, simple, None, data, classifier)
    show("nearest training image", task, nearest(task, train), None, data, classifier)
    columns = [task.x, simple]
    for name, (model, noise) in models.items():
        found = use.restore(model, task.seen, task.operator, data.shape, noise=noise, draws=draws)
        drawn, mean = found.draws, found.mean
        if data.shape[0] > 1:
            like_first = [in_order(draw, drawn[:, 0]) for draw in drawn.unbind(1)]
            mean = torch.stack(like_first, 1).mean(1)
        show(f"{name} ({found.method})", task, mean, drawn[:, 0], data, classifier)
        columns += [mean, drawn[:, 0], drawn[:, 1]]
    sheet = torch.stack([column[:10] for column in columns], 1).flatten(0, 1)
    grid_png(data.space.to_user(sheet), out / f"{title.partition(':')[0]}.png", columns=len(columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="labelled images, or stacked-digits")
    parser.add_argument("--data-root")
    parser.add_argument("--models", nargs="*", default=["vae", "dcgan", "cvae"], help="beside PPCA")
    parser.add_argument("--tasks", nargs="+", default=["half", "blocks"], help="of images of one channel")
    parser.add_argument("--factor", type=int, default=2, help="side of the blocks of pixels that are seen as one")
    parser.add_argument("--steps", type=int, default=5000, help="of each model")
    parser.add_argument("--n", type=int, default=100, help="test images")
    parser.add_argument("--runs", nargs="*", default=[], metavar="NAME=DIR", help="trained runs of models, by name")
    parser.add_argument("--out", type=Path, default=Path("runs/examples/restoration"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps, n, draws = (20, 2, 2) if args.smoke else (args.steps, args.n, 8)
    if args.smoke:
        args.models = ["vae", "cvae"]
    stacked = args.data.startswith("stacked-")

    data = pyrogen.load(args.data, args.data_root)
    x = data.test.tensors()[0][:n]
    single = pyrogen.load(args.data.removeprefix("stacked-"), args.data_root)
    cache = args.out / "classifier" if args.smoke else None
    classifier = get_classifier(single, cache, steps=50 if args.smoke else None)

    args.out.mkdir(parents=True, exist_ok=True)
    runs = dict(pair.split("=") for pair in args.runs)

    def model_of(recipe: str, **options: Any) -> Any:
        if recipe in runs:
            return pyrogen.open(runs[recipe]).model
        options["steps"] = steps
        return open_or_train(args.out / recipe, recipe, single.name, data_root=args.data_root, options=options).model

    ppca = PPCA.from_data(data.train.tensors()[0][:20_000], min(100, data.dims - 1))
    models: dict[str, tuple[Any, float]] = {"ppca": (ppca, 0.0)}
    if stacked and "vae" in args.models:
        models["a vae of each channel"] = Stacked(model_of("vae"), data.shape[0]), NOISE
    elif "vae" in args.models:
        models["vae"] = model_of("vae"), 0.0
    if not stacked and "dcgan" in args.models:
        models["dcgan"] = model_of("dcgan"), NOISE
    if stacked:
        restore(
            "grey: the mean of the channels is seen", Task(x, use.Grey()), data, models, classifier, args.out, draws
        )
    if not stacked and "blocks" in args.tasks:
        title = f"blocks: means of {args.factor} x {args.factor} pixels are seen"
        restore(title, Task(x, use.Downsample(args.factor)), data, models, classifier, args.out, draws)
    if not stacked and "half" in args.tasks:
        left = torch.zeros(data.shape, dtype=torch.bool)
        left[..., : data.shape[-1] // 2] = True
        if "cvae" in args.models:
            models["cvae"] = model_of("cvae", condition="quadrants", observed=2), 0.0
        restore("half: the left half is seen", Task(x, use.Mask(left)), data, models, classifier, args.out, draws)
    print(f"original, baseline, and of each model the mean and two draws: {args.out}")


if __name__ == "__main__":
    main()
