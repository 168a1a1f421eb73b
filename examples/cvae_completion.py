"""Image completion with a conditional VAE: predict three quadrants from the observed one.

The side information y is the image with NaN at unobserved pixels (``observe_quadrants``);
``data.with_side_information`` substitutes it for the labels. The likelihood is that of the unobserved pixels given the
observed ones.

    python examples/cvae_completion.py                # --smoke for a run of a few seconds
    python examples/cvae_completion.py --observed 2   # half of the image is observed
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

import pyrogen
from pyrogen.explicit import CVAE, DiscretizedLogisticLikelihood, PartialImage, observe_quadrants
from pyrogen.report import grid_png

ROWS, COMPLETIONS = 8, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a data set of grey levels, e.g. digits or mnist")
    parser.add_argument("--data-root")
    parser.add_argument("--observed", type=int, default=1, help="number of observed quadrants: 1, 2 or 3")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/cvae_completion"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps = 60 if args.smoke else args.steps
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    data = pyrogen.load(args.data, args.data_root, args.seed)
    data = data.with_side_information(lambda x, y: observe_quadrants(x, args.observed))
    likelihood = DiscretizedLogisticLikelihood(data.space.levels)
    mean = data.train.tensors()[0].mean(0)
    cvae = CVAE(data.shape, PartialImage(data.shape), 16, (256, 256), likelihood, mean=mean)
    schedule = partial(CosineAnnealingLR, T_max=steps)
    step = pyrogen.SVI(cvae.model, cvae.guide, optim=partial(Adam, lr=1e-3), schedule=schedule)
    best = float("inf")
    for t, logs in pyrogen.fit(step, data.train, steps=steps, batch_size=128, seed=args.seed):
        if t % max(steps // 10, 1) == 0:
            valid = float(step.evaluate(*data.valid.tensors())["loss"])
            print(f"step {t:5d}: loss {float(logs['loss']):.1f}, on validation data {valid:.1f} nats (negative ELBO)")
            if valid < best:
                best = valid
                pyrogen.save(args.out, t=t, model=cvae)
    pyrogen.restore(args.out, model=cvae)

    score = pyrogen.evaluate(cvae, data.test, seed=args.seed)["log_likelihood"]
    print(f"log p(unobserved | {args.observed} of 4 quadrants), test data: {score.value:.2f} ± {score.stderr:.2f} "
          f"{score.unit} ({score.kind})")  # fmt: skip

    x, y = (part[:ROWS] for part in data.test.tensors())
    columns = [y, *(cvae.sample_mean(ROWS, y) for _ in range(COMPLETIONS)), x]
    images = torch.stack([data.space.to_user(c) for c in columns], 1).flatten(0, 1)
    grid_png(images, args.out / "completions.png", columns=len(columns))
    print(f"observed | {COMPLETIONS} completions | original, one row per image: {args.out / 'completions.png'}")


if __name__ == "__main__":
    main()
