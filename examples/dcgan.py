"""A deep convolutional GAN for images, unconditional or class-conditional.

The same step trains both: labels are passed to generator and critic if their ``forward`` has a second argument. A GAN
has no likelihood, so it is evaluated by its samples; the printed ``kde`` is a kernel-density estimate, which is not
comparable with exact values or bounds.

    python examples/dcgan.py                              # --smoke for a run of a few seconds
    python examples/dcgan.py --conditional                # one row of the picture per class
    python examples/dcgan.py --data mnist --device cuda   # --data-root: the folder of MNIST
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch.optim import Adam

import pyrogen
from pyrogen.implicit import DCGAN
from pyrogen.report import grid_png


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a data set of images, e.g. digits, mnist or cifar10")
    parser.add_argument("--data-root")
    parser.add_argument("--conditional", action="store_true")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/dcgan"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps = 20 if args.smoke else args.steps
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    data = pyrogen.load(args.data, args.data_root, args.seed).to(args.device)
    classes = len(data.classes) if args.conditional else 0
    dcgan = DCGAN(data.shape, latent=32, width=32, classes=classes).to(args.device)
    optim = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    step = pyrogen.AdversarialGame(dcgan.generator, dcgan.critic, dcgan.prior, optim=optim)

    labels = torch.arange(classes, device=args.device).repeat_interleave(8) if classes else None
    for t, logs in pyrogen.fit(step, data.train, steps=steps, batch_size=128, seed=args.seed):
        if t % max(steps // 10, 1) == 0:
            print("  ".join([f"step {t:5d}", *(f"{name} {float(value):.3f}" for name, value in logs.items())]))
            pictures = data.space.to_user(dcgan.sample(64 if labels is None else len(labels), labels))
            grid_png(pictures, args.out / f"samples-{t:06d}.png", columns=8)
            pyrogen.save(args.out, t=t, model=dcgan, step=step)

    print("scores on test data:")
    for name, score in pyrogen.evaluate(dcgan, data, seed=args.seed).items():
        print(f"  {name}: {score.value:.4g} ± {score.stderr:.2g} {score.unit} ({score.kind})")
    print(f"pictures and checkpoints: {args.out}")


if __name__ == "__main__":
    main()
