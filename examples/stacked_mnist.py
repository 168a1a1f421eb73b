"""Stacked MNIST: how many of the 1,000 modes are found, and in what proportions?

The channels of an image are three random digits. A classifier of single digits assigns samples to modes. The reverse KL
of the mode frequencies is positive even for a perfect sampler with finitely many samples; its expected value is printed
too. Published values for 26,000 samples (PacGAN): 99 modes and 3.40 nats for DCGAN, 1,000 and 0.06 with packs of two.

    PYROGEN_DATA=… python examples/stacked_mnist.py --layers 3 --steps 100000 --device cuda   # as published
    python examples/stacked_mnist.py --data stacked-digits   # 8 x 8 pixels, on a CPU; or --smoke
    python examples/stacked_mnist.py --data stacked-digits --loss relativistic --pack 1 --r1 0.1 --steps 8000
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

import pyrogen
from pyrogen.implicit import DCGAN, ConvCritic, Packed, packed_shape
from pyrogen.measure import get_classifier, in_chunks, mode_count_scores, stacked_modes
from pyrogen.objectives import NonSaturating, R1Penalty, Relativistic
from pyrogen.report import grid_png
from pyrogen.training import ExponentialMovingAverage

LOSSES = {"non_saturating": NonSaturating, "relativistic": Relativistic}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("stacked-mnist", "stacked-digits"), default="stacked-mnist")
    parser.add_argument("--loss", choices=LOSSES, default="non_saturating", help="relativistic: with R1 and R2")
    parser.add_argument("--pack", type=int, default=2, help="images scored jointly by the critic")
    parser.add_argument("--r1", type=float, default=0.05, help="weight γ of R1")
    parser.add_argument(
        "--lr", type=float, default=5e-4, help="learning rate of the generator; the critic's is twice that"
    )
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--layers", type=int, default=0, help="convolutions per network; 0: until a side is below 8")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=26_000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/stacked_mnist"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    name, steps, samples = ("stacked-digits", 20, 500) if args.smoke else (args.data, args.steps, args.samples)
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    data = pyrogen.load(name).to(args.device)
    cache = args.out / "classifier" if args.smoke else None
    single = pyrogen.load(name.removeprefix("stacked-"))
    classifier = get_classifier(single, cache, args.device, steps=50 if args.smoke else 2000)
    print(f"accuracy of the classifier on single test digits: {classifier.accuracy:.2%}")

    gan = DCGAN(data.shape, latent=128, width=args.width, layers=args.layers)
    critic = ConvCritic(packed_shape(data.shape, args.pack), args.width, norm="layer", layers=args.layers)
    gan.critic = Packed(critic, args.pack)
    gan.to(args.device)
    average = ExponentialMovingAverage(gan, 0.999)
    adam = partial(Adam, betas=(0.0, 0.9))
    step = pyrogen.AdversarialGame(
        gan.generator,
        gan.critic,
        gan.prior,
        LOSSES[args.loss](),
        optim=(partial(adam, lr=args.lr), partial(adam, lr=2 * args.lr)),
        penalty=R1Penalty(args.r1, samples=args.loss == "relativistic"),
        schedule=partial(CosineAnnealingLR, T_max=steps),
    )
    loop = pyrogen.fit(step, data.train, steps=steps, batch_size=64, seed=args.seed, precision=args.precision)
    for t, _ in loop:
        average.update(gan)
        if t % max(steps // 10, 1) == 0:
            drawn = data.space.to_user(in_chunks(average.module, min(samples, 5000)))
            scores = mode_count_scores(stacked_modes(drawn, classifier), 1000)
            found, divergence = scores["modes"].value, scores["reverse_kl"].value
            print(f"step {t:6d}: {found} modes, KL {divergence:.3f} ({len(drawn)} samples)")
            grid_png(drawn[:64].cpu(), args.out / f"samples-{t:06d}.png", columns=8)
            pyrogen.save(args.out, t=t, model=gan, step=step, average=average)

    drawn = data.space.to_user(in_chunks(average.module, samples))
    for name, score in mode_count_scores(stacked_modes(drawn, classifier), 1000).items():
        print(
            f"{name}: {score.value:.4g} {score.unit}; perfect sampler {score.detail['floor']:.4g} ({samples} samples)"
        )
    print(f"pictures and checkpoints: {args.out}")


if __name__ == "__main__":
    main()
