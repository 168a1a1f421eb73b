"""The bottleneck of an autoencoder: the error of reconstructions against the size of codes, beside PCA.

PCA has the least squared error of all linear codes of a size; an autoencoder has nonlinear ones, and a VAE pays for the
noise in its codes.

    python examples/bottleneck_curve.py                # --smoke for a run of a few seconds
    python examples/bottleneck_curve.py --data mnist --steps 5000
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

import pyrogen
from pyrogen import use
from pyrogen.training import open_or_train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-root")
    parser.add_argument("--models", nargs="+", default=["autoencoder", "vae"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[2, 4, 8, 16, 32])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/bottleneck"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    if args.smoke:
        args.sizes, args.steps = [2, 8], 20

    data = pyrogen.load(args.data, args.data_root)
    figure = Figure((6, 4), layout="constrained")
    axes = figure.subplots()
    linear: dict[int, float] = {}
    for name in args.models:
        runs = [
            open_or_train(
                args.out / f"{name}-{size}",
                name,
                args.data,
                data_root=args.data_root,
                options={"latent": size, "steps": args.steps},
            )
            for size in args.sizes
        ]
        curve = use.bottleneck_curve([run.model for run in runs], data)
        for point in curve:
            error = f"{point.error.value:.5f} ± {point.error.stderr:.5f}"
            if point.pca:
                linear[point.size] = point.pca.value
                error += f"; PCA {point.pca.value:.5f}"
            print(f"{name}, {point.size} numbers: {error}", flush=True)
        axes.plot([point.size for point in curve], [point.error.value for point in curve], "o-", label=name)
    axes.plot(list(linear), list(linear.values()), "s--", color="grey", label="PCA")
    axes.set(xscale="log", yscale="log", xlabel="numbers in a code", ylabel="mean squared error per dimension")
    axes.set_xticks(args.sizes, [str(size) for size in args.sizes])
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.savefig(args.out / "bottleneck.png", dpi=120)
    print(f"error against size: {args.out / 'bottleneck.png'}")


if __name__ == "__main__":
    main()
