"""A variational autoencoder with a custom training loop.

The loop of the library is a generator, so checkpoints, validation, early stopping and pictures are statements of the
loop body. An interrupted run continues from the newest checkpoint in ``--out``; the result is bit-identical to an
uninterrupted run.

    python examples/vae.py                # --smoke for a run of a few seconds
    python examples/vae.py --data mnist   # --data-root: the folder of MNIST
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

import pyrogen
from pyrogen.explicit import VAE, DiscretizedLogisticLikelihood
from pyrogen.report import samples_png


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a data set of grey levels, e.g. digits or mnist")
    parser.add_argument("--data-root")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--patience", type=int, default=8, help="validations without improvement before stopping")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/vae"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps = 60 if args.smoke else args.steps
    every = max(steps // 20, 10)

    torch.manual_seed(args.seed)
    data = pyrogen.load(args.data, args.data_root, args.seed)
    likelihood = DiscretizedLogisticLikelihood(data.space.levels)
    vae = VAE(data.shape, args.latent, (256, 256), likelihood, mean=data.train.tensors()[0].mean(0))
    schedule = partial(CosineAnnealingLR, T_max=steps)
    step = pyrogen.SVI(vae.model, vae.guide, optim=partial(Adam, lr=2e-3), schedule=schedule)
    stop = pyrogen.EarlyStopping(args.patience)
    parts: dict[str, pyrogen.Stateful] = {"model": vae, "step": step, "stop": stop}

    start = 0
    if any(args.out.glob("checkpoint-*")):
        start = pyrogen.restore(args.out, **parts)
        print(f"continuing from step {start}")
    for t, logs in pyrogen.fit(step, data.train, steps=steps, batch_size=128, seed=args.seed, start=start):
        if t % every and t != steps:
            continue
        torch.manual_seed(args.seed)  # the same samples of z at every validation
        valid = float(step.evaluate(data.valid.tensors()[0])["loss"])
        print(f"step {t:5d}: loss {float(logs['loss']):.1f}, on validation data {valid:.1f} nats (negative ELBO)")
        if valid < stop.best:
            pyrogen.save(args.out / "best", t=t, model=vae)
        enough = stop.after(valid)
        pyrogen.save(args.out, t=t, **parts)
        samples_png(vae.sample_mean(64), path=args.out / f"samples-{t:06d}.png")
        if enough:
            print(f"stopped: no improvement in {args.patience} validations")
            break

    best = pyrogen.restore(args.out / "best", model=vae)
    print(f"scores on test data, with the weights of step {best}:")
    for name, score in pyrogen.evaluate(vae, data, seed=args.seed).items():
        print(f"  {name}: {score.value:.4g} ± {score.stderr:.2g} {score.unit} ({score.kind})")
    print(f"checkpoints and pictures: {args.out}")


if __name__ == "__main__":
    main()
