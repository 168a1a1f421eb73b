"""Clustering without labels: a VAE whose prior is a mixture, beside k-means on pixels and on the codes of a plain VAE.

For each seed a ``gmvae`` is trained on unlabelled images, with random affine maps of the encoder's images and clusters
that are equally frequent. Its clusters of test data are scored by the best one-to-one assignment to classes; labels are
used for nothing else. The picture has a row of samples for each cluster of the run with the best bound on validation
data.

    PYROGEN_DATA=… python examples/clustering.py --data mnist --shift 4 --distortion 0.35 --seeds 5
    python examples/clustering.py                # digits; --smoke for a run of a few seconds
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch

import pyrogen
from pyrogen import use
from pyrogen.explicit import ComponentSampler
from pyrogen.report import grid_png
from pyrogen.training import open_or_train

SAMPLES = 12
"""Samples of each cluster in the picture."""


def show(name: str, clusters: torch.Tensor, y: torch.Tensor, more: str = "") -> float:
    """Print the scores of clusters; return the accuracy."""
    scores = use.cluster_scores(clusters, y)
    print(f"{name:32s} " + ", ".join(f"{key} {score.value:.3f}" for key, score in scores.items()) + more)
    return scores["cluster_accuracy"].value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a data set with labels, by which clusters are scored")
    parser.add_argument("--shift", type=float, default=1.0, help="greatest shift of the encoder's images, in pixels")
    parser.add_argument("--distortion", type=float, default=0.2, help="their greatest rotation, scaling and shear")
    parser.add_argument("--steps", type=int, default=11_000)
    parser.add_argument("--seeds", type=int, default=1, help="the number of runs")
    parser.add_argument("--precision", choices=("32", "bf16"), default="bf16")
    parser.add_argument("--out", type=Path, default=Path("runs/examples/clustering"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps = 40 if args.smoke else args.steps

    data = pyrogen.load(args.data)
    x, y = data.test.tensors()
    k = len(data.classes)
    show("k-means on pixels", use.cluster(x, k)[0], y)
    settings: dict[str, Any] = {"precision": args.precision, "compile": False}
    shared: dict[str, Any] = {"likelihood": "gaussian", "sigma": 0.4, "steps": steps}
    vae = open_or_train(args.out / "vae", "vae", args.data, options={"latent": 10} | shared, **settings)
    show("k-means on codes of a VAE", use.cluster(use.encode(vae.model, x), k)[0], y)

    options = {"components": k, "weights": "equal", "shift": args.shift, "distortion": args.distortion}
    accuracies: list[float] = []
    best: tuple[float, Any] = (-float("inf"), None)
    for seed in range(args.seeds):
        folder = args.out / f"gmvae-{seed}"
        run = open_or_train(folder, "gmvae", args.data, seed=seed, options=options | shared, **settings)
        elbo = -min(row["valid_loss"] for row in run.metrics if "valid_loss" in row)
        more = f", bound on validation data {elbo:.2f} nats"
        accuracies.append(show(f"gmvae, seed {seed}", use.assign(run.model, x), y, more))
        best = max(best, (elbo, run.model), key=lambda found: found[0])
    print(f"gmvae, {args.seeds} seeds: median {statistics.median(accuracies):.2%}, worst {min(accuracies):.2%}")

    torch.manual_seed(0)
    means = ComponentSampler(best[1]).sample_mean(k * SAMPLES, torch.arange(k).repeat_interleave(SAMPLES))
    (args.out / "clusters.png").write_bytes(grid_png(means.clamp(0, 1), columns=SAMPLES))
    print(f"a row of samples for each cluster: {args.out / 'clusters.png'}")


if __name__ == "__main__":
    main()
