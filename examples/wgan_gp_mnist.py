"""A convolutional Wasserstein GAN with gradient penalty on MNIST, evaluated in the features of a digit classifier.

The classifier is trained once (about two minutes) and cached. The bias of the Fréchet distance depends on the number of
samples, so the value for the same number of test images is printed too, with the ratio of the two.

    PYROGEN_DATA=… python examples/wgan_gp_mnist.py   # --smoke for a run of a few seconds on 8 x 8 digits
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

import pyrogen
from pyrogen.implicit import WGAN
from pyrogen.measure import feature_scores, get_classifier, in_chunks
from pyrogen.objectives import GradientPenalty, Wasserstein
from pyrogen.report import grid_png
from pyrogen.training import ExponentialMovingAverage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="a data set of labelled images")
    parser.add_argument("--steps", type=int, default=30_000, help="training steps, each with one critic update")
    parser.add_argument("--critic-steps", type=int, default=3)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/wgan_gp_mnist"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps, samples = (20, 200) if args.smoke else (args.steps, args.samples)
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    data = pyrogen.load("digits" if args.smoke else args.data).to(args.device)
    cache = args.out / "classifier" if args.smoke else None
    classifier = get_classifier(data, cache, args.device, steps=50 if args.smoke else 2000)
    print(f"accuracy of the classifier on test images: {classifier.accuracy:.2%}")

    wgan = WGAN(data.shape, latent=64, hidden=(args.width,), network="conv").to(args.device)
    average = ExponentialMovingAverage(wgan, 0.999)
    step = pyrogen.AdversarialGame(
        wgan.generator,
        wgan.critic,
        wgan.prior,
        Wasserstein(),
        (partial(Adam, lr=5e-4, betas=(0.0, 0.9)), partial(Adam, lr=1e-3, betas=(0.0, 0.9))),
        critic_steps=args.critic_steps,
        penalty=GradientPenalty(10.0),
        schedule=partial(CosineAnnealingLR, T_max=steps),
    )
    for t, logs in pyrogen.fit(step, data.train, steps=steps, batch_size=64, seed=args.seed):
        average.update(wgan)
        if t % max(steps // 10, 1) == 0:
            print("  ".join([f"step {t:6d}", *(f"{name} {float(value):.3f}" for name, value in logs.items())]))
            pictures = data.space.to_user(average.module.sample(64))
            grid_png(pictures, args.out / f"samples-{t:06d}.png", columns=8)
            pyrogen.save(args.out, t=t, model=wgan, step=step, average=average)

    for name, score in feature_scores(in_chunks(average.module, samples), data, classifier).items():
        of_test = f"; of test data {score.detail['test']:.4g}" if "test" in score.detail else ""
        print(f"{name}: {score.value:.4g} ± {score.stderr:.2g}{of_test}")
    print(f"pictures and checkpoints: {args.out}")


if __name__ == "__main__":
    main()
