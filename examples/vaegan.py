"""A VAE/GAN and a plain VAE: a reconstruction error in critic features gives sharper images than one in pixels.

Encoders and decoders have the same size. The rows of the pictures alternate between test data and reconstructions. The
reconstructions of the VAE have the smaller pixel error, those of the VAE/GAN are sharper: their contrast between
neighbouring pixels is close to that of the data.

    python examples/vaegan.py                # --smoke for a run of a few seconds
    python examples/vaegan.py --data mnist   # --data-root: the folder of MNIST
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

import pyrogen
from pyrogen.explicit import VAE, GaussianLikelihood
from pyrogen.hybrid import VAEGAN
from pyrogen.report import grid_png
from pyrogen.steps import SequentialSteps


def contrast(images: torch.Tensor) -> float:
    """The mean absolute difference of horizontally neighbouring pixels."""
    return float(images.diff(dim=-1).abs().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="images in [0, 1], e.g. digits or mnist")
    parser.add_argument("--data-root")
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/vaegan"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps = 20 if args.smoke else args.steps
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    data = pyrogen.load(args.data, args.data_root, args.seed)
    schedule = partial(CosineAnnealingLR, T_max=steps)
    fast, slow = partial(Adam, lr=1e-3), partial(Adam, lr=2e-4, betas=(0.0, 0.9))

    vae = VAE(data.shape, args.latent, (32,), GaussianLikelihood(), network="conv")
    hybrid = VAEGAN(data.shape, args.latent, (32,), network="conv")
    steps_of: dict[str, tuple[VAE | VAEGAN, pyrogen.Step]] = {
        "vae": (vae, pyrogen.SVI(vae.model, vae.guide, fast, schedule=schedule)),
        "vaegan": (
            hybrid,
            SequentialSteps(
                similarity=pyrogen.SVI(hybrid.pair.model, hybrid.pair.guide, fast, schedule=schedule),
                game=pyrogen.AdversarialGame(
                    hybrid.generator, hybrid.critic, hybrid.prior, optim=slow, schedule=schedule
                ),
            ),
        ),
    }
    x = data.test.tensors()[0][:32]
    print(f"contrast of test data {contrast(x):.4f}")
    for name, (model, step) in steps_of.items():
        for t, logs in pyrogen.fit(step, data.train, steps=steps, batch_size=128, seed=args.seed):
            if t % max(steps // 4, 1) == 0:
                print("  ".join([f"{name} step {t:5d}", *(f"{key} {float(value):.3f}" for key, value in logs.items())]))
        model.eval()
        with torch.no_grad():
            x_hat = model.decode(model.encode(x))
            samples = model.decode(torch.randn(64, args.latent))
        print(f"{name}: mean squared error {float((x_hat - x).square().mean()):.4f}, contrast {contrast(x_hat):.4f}")
        rows = torch.stack([x.view(4, 8, *x.shape[1:]), x_hat.view(4, 8, *x.shape[1:])], 1).flatten(0, 2)
        grid_png(rows, args.out / f"{name}-reconstructions.png", columns=8)
        grid_png(samples, args.out / f"{name}-samples.png", columns=8)
    print(f"pictures: {args.out}")


if __name__ == "__main__":
    main()
