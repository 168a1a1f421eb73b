"""Stacked MNIST: do the samples show all 1,000 modes, and in even shares?

Three digits drawn at random are the channels of one picture. A classifier of single digits reads the samples; the
reverse KL of the 1,000 shares has a sampling floor, printed beside it, which only an endless sample would beat.
Published with 26,000 samples (PacGAN): DCGAN 99 modes and 3.40 nats, packed by two 1,000 and 0.06.

    PYROGEN_DATA=… python examples/stacked_mnist.py --layers 3 --steps 100000 --device cuda   # as published
    python examples/stacked_mnist.py --data stacked-digits   # 8 x 8, on a CPU; also --smoke
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
    parser.add_argument("--pack", type=int, default=2, help="how many pictures the critic sees at once")
    parser.add_argument("--r1", type=float, default=0.05, help="weight of the penalty on the critic's slope")
    parser.add_argument("--lr", type=float, default=5e-4, help="of the generator; the critic's is twice that")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--layers", type=int, default=0, help="convolutions of each player; 0: until a side is below 8")
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
    cache = args.out / "judge" if args.smoke else None
    single = pyrogen.load(name.removeprefix("stacked-"))
    classifier = get_classifier(single, cache, args.device, steps=50 if args.smoke else 2000)
    print(f"the classifier is right on {classifier.accuracy:.2%} of single test digits")

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
            drawn = data.space.to_image(in_chunks(average.module, min(samples, 5000)))
            scores = mode_count_scores(stacked_modes(drawn, classifier), 1000)
            found, divergence = scores["modes"].value, scores["reverse_kl"].value
            print(f"step {t:6d}: {found} modes, KL {divergence:.3f} by {len(drawn)} samples")
            grid_png(drawn[:64].cpu(), args.out / f"samples-{t:06d}.png", columns=8)
            pyrogen.save(args.out, t=t, model=gan, step=step, average=average)

    drawn = data.space.to_image(in_chunks(average.module, samples))
    for name, score in mode_count_scores(stacked_modes(drawn, classifier), 1000).items():
        print(f"{name}: {score.value:.4g} {score.unit}; of even draws {score.detail['floor']:.4g} ({samples} samples)")
    print(f"pictures and checkpoints: {args.out}")


if __name__ == "__main__":
    main()
