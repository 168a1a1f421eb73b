"""A Wasserstein GAN, whose critic estimates the Wasserstein-1 distance.

The loss of an optimal 1-Lipschitz critic is -W₁, the negative Wasserstein-1 distance between samples and data. With the
gradient penalty (the default) the estimate is therefore in the units of the data, and it is compared with the exact W₁
between two point sets, the solution of an assignment problem. W₁ between two sets of real data is not zero either; the
last lines print it. With ``--lipschitz clip`` the Lipschitz constant of the critic is unknown, and so is the scale of
the estimate.

    python examples/wgan.py                    # --smoke for a run of a few seconds
    python examples/wgan.py --lipschitz clip
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch.optim import Adam, RMSprop

import pyrogen
from pyrogen.implicit import WGAN
from pyrogen.measure import w1_exact
from pyrogen.objectives import GradientPenalty, Wasserstein
from pyrogen.report import curves_png, scatter_png
from pyrogen.steps import MakeOptimizer

POINTS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lipschitz", choices=("penalty", "clip"), default="penalty")
    parser.add_argument("--critic-steps", type=int, default=5, help="critic updates per generator update")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/wgan"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps = 50 if args.smoke else args.steps
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    data = pyrogen.load("moons", seed=args.seed)
    wgan = WGAN(data.shape, latent=16, hidden=(128, 128), unit=False)
    optim: tuple[MakeOptimizer, MakeOptimizer]  # generator, critic; the critic needs a higher learning rate
    if args.lipschitz == "penalty":
        adam = partial(Adam, betas=(0.5, 0.9))
        optim, penalty, clip = (partial(adam, lr=3e-4), partial(adam, lr=1e-3)), GradientPenalty(1.0), None
    else:
        optim, penalty, clip = (partial(RMSprop, lr=1e-4), partial(RMSprop, lr=5e-4)), None, 0.1
    step = pyrogen.AdversarialGame(
        wgan.generator,
        wgan.critic,
        wgan.prior,
        Wasserstein(),
        optim,
        critic_steps=args.critic_steps,
        penalty=penalty,
        clip=clip,
    )
    rows = []
    for t, _ in pyrogen.fit(step, data.train, steps=steps, batch_size=256, seed=args.seed):
        if t % max(steps // 20, 1) == 0:
            samples, real = wgan.sample(POINTS), data.test.x[:POINTS]
            estimate = -float(step.evaluate(data.valid.x[:5000])["critic_loss"])
            rows.append({"t": t, "critic_estimate": estimate, "exact": w1_exact(samples, real)})
            print(
                f"step {t:6d}: W1 by the critic {estimate:.4f} (estimate), of samples {rows[-1]['exact']:.4f} (exact)"
            )

    curves_png(rows, args.out / "curves.png")
    scatter_png(wgan.sample(2000), data.test.x[:2000], args.out / "samples.png")
    floor = w1_exact(data.valid.x[:POINTS], data.test.x[:POINTS])
    exact = rows[-1]["exact"]
    print(f"W1 between {POINTS} samples and {POINTS} test data: {exact:.4f}, in standard deviations of the data")
    print(f"W1 between {POINTS} validation data and the same test data: {floor:.4f}")
    print(f"pictures: {args.out}")


if __name__ == "__main__":
    main()
