"""A GAN on a ring of eight Gaussians: how many modes are found, and in what proportions?

The density of the data is known, so mode collapse can be measured: a sample is of high quality within three standard
deviations of its nearest mode, and a mode is found if it has such a sample. The scores are those of an exponential
moving average of the weights, because the current weights oscillate.

    python examples/gan.py                  # --smoke for a run of a few seconds
    python examples/gan.py --loss minimax   # the original loss, for which the generator's gradient can vanish
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

import pyrogen
from pyrogen.implicit import GAN
from pyrogen.measure import mode_scores
from pyrogen.objectives import Minimax, NonSaturating
from pyrogen.report import samples_png
from pyrogen.training import ExponentialMovingAverage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loss", choices=("non_saturating", "minimax"), default="non_saturating")
    parser.add_argument("--steps", type=int, default=15_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/gan"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps = 100 if args.smoke else args.steps
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    data = pyrogen.load("ring", seed=args.seed)
    gan = GAN(data.shape, latent=16, hidden=(128, 128, 128), unit=False)
    average = ExponentialMovingAverage(gan, 0.999)
    step = pyrogen.AdversarialGame(
        gan.generator,
        gan.critic,
        gan.prior,
        loss=Minimax() if args.loss == "minimax" else NonSaturating(),
        optim=partial(Adam, lr=1e-3, betas=(0.0, 0.9)),
        schedule=partial(CosineAnnealingLR, T_max=steps),
    )
    for t, logs in pyrogen.fit(step, data.train, steps=steps, batch_size=512, seed=args.seed):
        average.update(gan)
        if t % max(steps // 10, 1) == 0:
            samples = data.space.to_user(average.module.sample(2000))
            scores = mode_scores(samples, data.truth.modes, data.truth.std)
            found, quality = scores["modes"].value, scores["high_quality"].value
            losses = f"critic {float(logs['critic_loss']):.3f}, generator {float(logs['generator_loss']):.3f}"
            print(f"step {t:6d}: {losses}; {found} of {len(data.truth.modes)} modes, {quality:.0%} of high quality")
            samples_png(samples, data.space.to_user(data.test.x[:2000]), args.out / f"samples-{t:06d}.png")

    samples = data.space.to_user(average.module.sample(10_000))
    for name, score in mode_scores(samples, data.truth.modes, data.truth.std).items():
        print(f"{name}: {score.value:.4g} ± {score.stderr:.2g} {score.unit} ({score.kind})")
    print(f"pictures: {args.out}")


if __name__ == "__main__":
    main()
