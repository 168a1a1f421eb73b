"""Augmentation: what samples of a class-conditional model are worth to a classifier.

The classification accuracy score (CAS) is the accuracy on real test data of a classifier trained on samples alone
(Ravuri and Vinyals, NeurIPS 2019). With few labelled data, samples of a model that was trained on them are added.

    python examples/augmentation.py                                     # --smoke for a run of a few seconds
    python examples/augmentation.py --data mnist --models mppca:condition=label:components=25:latent=20:steps=300 \
        --per-class 10000 --few 100 --few-model mppca:condition=label:components=3:steps=1 --few-per-class 1000

A model is a recipe with settings after colons.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import pyrogen
from pyrogen import use
from pyrogen.data import Dataset
from pyrogen.recipes import recipe
from pyrogen.report import grid_png
from pyrogen.training import open_or_train


def shuffled(data: Dataset, seed: int) -> Dataset:
    """The data set with its training rows in another order."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    return replace(data, train=data.train.select(order))


def named(given: str) -> tuple[str, dict[str, Any]]:
    """The recipe and the options of ``recipe:option=value:...``."""
    name, *settings = given.split(":")
    return name, recipe(name).bind(dict(setting.split("=", 1) for setting in settings))


def trained(data: Dataset, model: str, seed: int) -> Any:
    """A recipe trained on data in memory."""
    torch.manual_seed(seed)
    name, options = named(model)
    setup, size = recipe(name)(data, **options), min(options["batch_size"], len(data.train))
    for _ in pyrogen.fit(setup.step, setup.data.train, steps=options["steps"], batch_size=size, seed=seed):
        pass
    return setup.model


def with_few_labels(data: Dataset, model: str, few: int, per_class: int, seeds: int) -> None:
    """Compare classifiers trained on few images of each class, without and with samples added."""
    found = []
    for seed in range(seeds):
        real = use.first_per_class(shuffled(data, seed), few)
        more = use.augment(real, trained(real, model, seed), per_class, seed=seed)
        found.append([use.classification_accuracy(part).value for part in (real, more)])
        print(f"seed {seed}: {found[-1][0]:.2%} with {few} of each class, {found[-1][1]:.2%} augmented", flush=True)
    if seeds > 1:
        table = torch.tensor(found)
        gain = table[:, 1] - table[:, 0]
        error = float(gain.std()) / seeds**0.5
        alone, augmented = table.mean(0).tolist()
        print(f"{seeds} seeds: {alone:.2%} and {augmented:.2%}; gain {float(gain.mean()):.2%} ± {error:.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="labelled images")
    parser.add_argument("--data-root")
    default = ["mppca:condition=label:components=3:steps=200", "cvae:steps=5000", "dcgan:steps=5000"]
    parser.add_argument("--models", nargs="+", default=default, help="conditional on labels")
    parser.add_argument("--per-class", type=int, default=500, help="samples of each class")
    parser.add_argument("--few", type=int, default=10, help="labelled data of each class, for augmentation")
    parser.add_argument("--few-model", default="mppca:condition=label:components=1:latent=5:steps=1")
    parser.add_argument("--few-per-class", type=int, default=100, help="samples of each class, for augmentation")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/augmentation"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    if args.smoke:
        args.models, args.per_class, args.seeds = ["cvae:steps=20"], 20, 1

    data = pyrogen.load(args.data, args.data_root)
    print(f"accuracy of a classifier trained on the real data: {use.classification_accuracy(data).value:.2%}")
    sheet = []
    for given in args.models:
        name, options = named(given)
        run = open_or_train(args.out / name, name, args.data, data_root=args.data_root, options=options)
        model = run.model
        samples = use.augment(data, model, args.per_class, real=False)
        score = use.classification_accuracy(samples)
        print(f"{name}: classification accuracy score {score.value:.2%} ± {score.stderr:.2%}", flush=True)
        sheet += [samples.train.x[label * args.per_class :][:10] for label in range(len(data.classes))]
    grid_png(data.space.to_user(torch.cat(sheet)), args.out / "samples.png", columns=10)
    with_few_labels(data, args.few_model, args.few, args.few_per_class, args.seeds)
    print(f"samples, a row for each class: {args.out / 'samples.png'}")


if __name__ == "__main__":
    main()
