"""An adversarial autoencoder whose prior is a mixture with one component per class.

Each batch is used for two updates: ``SVI`` of the reconstruction, and an adversarial step that matches the codes to the
prior. ``codes.png`` shows codes of test data and samples of the prior; ``samples.png`` has one row of samples per
class.

    python examples/aae.py                   # --smoke for a run of a few seconds
    python examples/aae.py --prior normal    # standard normal prior, unconditional
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

import pyrogen
from pyrogen.hybrid import AAE
from pyrogen.objectives import R1Penalty
from pyrogen.report import grid_png, scatter_png
from pyrogen.steps import LatentAdversarialStep, SequentialSteps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="labelled images, e.g. digits or mnist")
    parser.add_argument("--prior", choices=("label", "normal"), default="label")
    parser.add_argument("--latent", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/aae"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps = 50 if args.smoke else args.steps
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    data = pyrogen.load(args.data, seed=args.seed)
    classes = len(data.classes) if args.prior == "label" else 0
    aae = AAE(data.shape, args.latent, (256, 256), classes=classes)
    schedule = partial(CosineAnnealingLR, T_max=steps)
    fast, slow = partial(Adam, lr=1e-3), partial(Adam, lr=2e-3, betas=(0.0, 0.9))
    step = SequentialSteps(
        reconstruction=pyrogen.SVI(aae.reconstruction, optim=fast, schedule=schedule),
        game=LatentAdversarialStep(
            aae.encoder, aae.critic, aae.prior, optim=slow, penalty=R1Penalty(1.0), schedule=schedule
        ),
    )
    for t, logs in pyrogen.fit(step, data.train, steps=steps, batch_size=128, seed=args.seed):
        if t % max(steps // 10, 1) == 0:
            print("  ".join([f"step {t:5d}", *(f"{name} {float(value):.3f}" for name, value in logs.items())]))

    x, y = data.test.tensors()
    with torch.no_grad():
        codes, drawn = aae.encode(x), aae.prior(len(x), y) if classes else aae.prior(len(x))
        error, baseline = (float((x_hat - x).square().mean()) for x_hat in (aae.decode(codes), x.mean(0)))
    scatter_png(codes[:, :2], drawn[:, :2], args.out / "codes.png", ("z₁", "z₂"))
    labels = torch.arange(classes).repeat_interleave(8) if classes else None
    grid_png(aae.sample(8 * classes or 64, labels), args.out / "samples.png", columns=8)
    print(f"mean squared error per test pixel: {error:.4f}; of the mean image: {baseline:.4f}")
    print(f"standard deviation of the codes {codes.std(0).mean():.2f}, of the prior {drawn.std(0).mean():.2f}")
    print(f"pictures: {args.out}")


if __name__ == "__main__":
    main()
