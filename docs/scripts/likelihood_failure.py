"""The likelihood of a model of complex images is higher on simple images than on its own data; other scores correct it.

    pyrogen train vae --data fashion-mnist --set likelihood=mixture --set hidden=256,256 --steps 1000 --precision bf16 \
        --out runs/vae-fashion
    python docs/scripts/likelihood_failure.py runs/vae-fashion --against mnist

Printed are the mean log-likelihoods in nats, bounds by 5 importance samples, and the AUROC of four scores.
"""

import argparse

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

import pyrogen
from pyrogen.use import Residual, code_lengths, log_likelihoods


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a model of images with a likelihood")
    parser.add_argument("--against", default="mnist", help="another data set of images of the same size")
    parser.add_argument("--n", type=int, default=1000, help="test images of both, and training images for the scores")
    given = parser.parse_args()
    opened = pyrogen.open(given.run)
    data = pyrogen.load(opened.config.data)
    own, others = (part.test.tensors()[0][: given.n] for part in (data, pyrogen.load(given.against)))
    train = data.train.tensors()[0]
    train = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[: given.n]]
    parts = (own, others, train)
    log_p = [log_likelihoods(opened.model, x, k=5) for x in parts]
    lengths = [code_lengths(data.space.to_user(x)) for x in parts]
    for name, values in zip((data.name, given.against, "training data"), log_p, strict=True):
        print(f"{name}: log-likelihood {float(values.mean()):.1f}")
    residual = Residual(-log_p[2], lengths[2])

    def auroc(inside: Tensor, outside: Tensor) -> float:
        return float(roc_auc_score([0] * given.n + [1] * given.n, torch.cat([inside, outside]).numpy()))

    scores = {
        "likelihood": [-p for p in log_p[:2]],
        "typicality": [(p - log_p[2].mean()).abs() for p in log_p[:2]],
        "complexity": [-p - c for p, c in zip(log_p[:2], lengths[:2], strict=True)],
        "residual": [residual(-p, c) for p, c in zip(log_p[:2], lengths[:2], strict=True)],
    }
    for name, (inside, outside) in scores.items():
        print(f"{name}: AUROC {auroc(inside, outside):.3f}")


if __name__ == "__main__":
    main()
