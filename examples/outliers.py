"""Outlier detection: one class against the others, and one data set against others.

A density model is trained on one class, or on one data set, and scores test data. The area under the ROC curve (AUROC)
is the probability that an outlier is scored as stranger than a datum of the training distribution.

    python examples/outliers.py                                       # --smoke for a run of a few seconds
    python examples/outliers.py --data mnist --against fashion-mnist
    python examples/outliers.py --data fashion-mnist --against mnist --no-classes
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

import pyrogen
from pyrogen import use
from pyrogen.data import Dataset
from pyrogen.explicit import PPCA
from pyrogen.report import samples_png
from pyrogen.training import open_or_train

SCORES = ("residual", "likelihood", "typicality", "complexity", "reconstruction", "code")


def auroc(inside: Tensor, outside: Tensor) -> float:
    strange = torch.cat([inside, outside]).cpu().numpy()
    return float(roc_auc_score([0] * len(inside) + [1] * len(outside), strange))


def of_class(data: Dataset, label: int) -> Dataset:
    """The data set with the training and validation data of one class."""
    train, valid = (part.select((part.tensors()[1] == label).nonzero().flatten()) for part in (data.train, data.valid))
    return replace(data, train=train, valid=valid)


def one_class(data: Dataset, latent: int, classes: int) -> dict[str, list[float]]:
    """The AUROC of each class against all others, by PPCA of that class."""
    x, y, *_ = data.test.tensors()
    found: dict[str, list[float]] = {"residual": [], "likelihood": []}
    for label in range(classes):
        own = of_class(data, label)
        model = PPCA.from_data(own.train.tensors()[0], latent)
        for score, values in found.items():
            strange = use.find_outliers(model, own, x, score=score).values
            values.append(auroc(strange[y == label], strange[y != label]))
    return found


def other_data(data: Dataset, against: list[str], root: str | None, n: int) -> dict[str, Tensor]:
    """Test data of other distributions: those of other data sets, and digits flipped and rotated."""
    tests = {name: pyrogen.load(name, root).test.tensors()[0][:n] for name in (data.name, *against)}
    digits = next((name for name in tests if "mnist" not in name or name == "mnist"), data.name)
    changed = {f"{digits} flipped": tests[digits].flip(-1), f"{digits} rotated": tests[digits].rot90(1, (-2, -1))}
    return {name: tests[name] for name in against} | changed


def compare_scores(model: Any, data: Dataset, others: dict[str, Tensor], n: int) -> None:
    """Print the AUROC of each score against each other distribution, and the false alarms of its p-values."""
    print(f"{'score':16}" + "".join(f"{name:>18}" for name in others) + f"{'p <= .05':>10}")
    x = data.test.tensors()[0]
    for score in SCORES:
        own = use.find_outliers(model, data, x, score=score, k=20)
        strange = [use.find_outliers(model, data, other, score=score, k=20).values for other in others.values()]
        row = "".join(f"{auroc(own.values[:n], values):18.4f}" for values in strange)
        print(f"{score:16}{row}{float((own.p_values <= 0.05).double().mean()):10.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="labelled images")
    parser.add_argument("--against", nargs="*", default=[], help="data sets of images of the same size")
    parser.add_argument("--data-root")
    parser.add_argument("--no-classes", action="store_true", help="leave one class against the others out")
    parser.add_argument("--latent", type=int, default=25, help="dimensions of PPCA of one class")
    parser.add_argument("--steps", type=int, default=5000, help="of the VAE")
    parser.add_argument("--n", type=int, default=10_000, help="test data of each distribution")
    parser.add_argument("--run", help="the run of a VAE that was trained")
    parser.add_argument("--out", type=Path, default=Path("runs/examples/outliers"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps, latent = (20, 10) if args.smoke else (args.steps, args.latent)

    data = pyrogen.load(args.data, args.data_root)
    if not args.no_classes:
        for score, values in one_class(data, latent, 2 if args.smoke else len(data.classes)).items():
            each = " ".join(f"{value:.3f}" for value in values)
            print(f"one class, PPCA-{latent}, {score}: mean AUROC {sum(values) / len(values):.4f} ({each})")
    others = other_data(data, args.against, args.data_root, args.n)
    print(f"PPCA-50 of {data.name}:")
    ppca = PPCA.from_data(data.train.tensors()[0], min(50, data.dims - 1))
    compare_scores(ppca, data, others, args.n)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.run:
        vae = pyrogen.open(args.run).model
    else:
        options = {"steps": steps}
        vae = open_or_train(args.out / "vae", "vae", args.data, data_root=args.data_root, options=options).model
    print(f"VAE of {data.name}:")
    compare_scores(vae, data, others, args.n)
    x = torch.cat([data.test.tensors()[0][:300], *(other[:10] for other in others.values())])
    strangest = use.find_outliers(vae, data, x, k=20).strangest[:64]
    samples_png(data.space.to_user(x[strangest]), path=args.out / "strangest.png")
    print(f"the strangest of 300 data and {len(x) - 300} others: {args.out / 'strangest.png'}")


if __name__ == "__main__":
    main()
