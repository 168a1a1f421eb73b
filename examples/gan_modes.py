"""Measure mode collapse: how many modes of a ring and of a grid do models find, and in what proportions?

PacGAN's protocol: 8 Gaussians with standard deviation 0.01 on the unit circle, or 25 with 0.05 on a grid; 100,000
training points, 2,500 samples; a sample within 3 standard deviations of its nearest mode is of high quality. A perfect
sampler has 98.89% high-quality samples and the reverse KL of the last row. One model is trained per processor. Results
are saved in ``results.json``, and an interrupted run continues from there.

    python examples/gan_modes.py                       # 10 seeds; --smoke for a run of a few seconds
    python examples/gan_modes.py --only gan+r1 --seeds 3
"""

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

import pyrogen
from pyrogen.measure import mode_scores
from pyrogen.recipes import recipe
from pyrogen.training import ExponentialMovingAverage

SMALL: dict[str, Any] = {"hidden": (128, 128, 128), "latent": 16}
ANNEALED: dict[str, Any] = {
    "steps": 8000,
    "batch_size": 512,
    "lr": 1.5e-3,
    "critic_rate": 2.0,
    "r1": 6e-4,
    "r1_start": 0.25,
    "n_binary": 8,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {  # row: recipe, options
    "gan": ("gan", SMALL | {"steps": 6000}),
    "wgan": ("wgan", {"latent": 16, "steps": 6000}),
    "wgan-gp": ("wgan-gp", SMALL | {"steps": 6000}),
    "packed-gan": ("packed-gan", SMALL | {"steps": 6000}),
    # A strong R1 keeps the critic smooth until the mode proportions are even, a weak one at the end makes samples
    # accurate; with binary coordinates in the prior, the generator need not connect the modes.
    "gan+r1": ("gan", SMALL | ANNEALED),
    "relativistic": ("relativistic-gan", SMALL | ANNEALED),
    "mixture": ("mixture", {"components": 32, "min_std": 0.005, "steps": 2000}),
    "flow": ("spline", {"bins": 32, "steps": 3000}),
}
TOYS = ("ring", "grid")
SAMPLES = 2500


def train_and_score(toy: str, row: str, seed: int, smoke: bool, out: Path) -> dict[str, float]:
    """Train one model with one seed, and return its mode scores."""
    name, options = MODELS[row]
    data = pyrogen.load(toy, seed=seed)
    torch.manual_seed(seed)
    options = {"batch_size": 256} | options | ({"steps": 20} if smoke else {})
    setup = recipe(name)(data, **options)
    average = ExponentialMovingAverage(setup.model, setup.average or 0.0)
    began = time.perf_counter()
    for _ in pyrogen.fit(setup.step, data.train, steps=options["steps"], batch_size=options["batch_size"], seed=seed):
        average.update(setup.model)
    seconds = time.perf_counter() - began
    assert isinstance(average.module, pyrogen.Sampler)
    samples = data.space.to_user(average.module.sample(SAMPLES))
    if seed == 0:
        np.save(out / f"{toy}-{row}.npy", samples.numpy())
    scores = mode_scores(samples, data.truth.modes, data.truth.std)
    return {name: score.value for name, score in scores.items()} | {"seconds": round(seconds, 1)}


def summary(results: dict[str, dict[str, float]], toy: str, row: str) -> str:
    """Mean ± standard error over the finished seeds, as a line of the table."""
    done = [v for k, v in results.items() if k.split("/")[:2] == [toy, row]]
    cells = []
    for key, unit in (("modes", 1), ("high_quality", 100), ("reverse_kl", 1), ("seconds", 1)):
        values = torch.tensor([unit * float(v[key]) for v in done])
        cells.append(f"{values.mean():9.3f} ± {values.std(correction=min(1, len(done) - 1)) / len(done) ** 0.5:5.3f}")
    return "  ".join([f"{toy:5}", f"{row:11}", f"{len(done):5d}", *cells])


def draw(out: Path, rows: list[str]) -> None:
    """Plot a histogram of the samples for each model and data set."""
    figure, axes = plt.subplots(len(TOYS), len(rows) + 1, figsize=(2.2 * len(rows) + 2.2, 5.0), squeeze=False)
    for line, toy in zip(axes, TOYS, strict=True):
        data = pyrogen.load(toy)
        limit = 1.4 * float(data.truth.modes.max())
        real = data.space.to_user(data.test.x[:SAMPLES])
        panels = [("data", real.numpy()), *((row, np.load(out / f"{toy}-{row}.npy")) for row in rows)]
        for panel, (title, x) in zip(line, panels, strict=True):
            panel.hist2d(*x.T, bins=120, range=[[-limit, limit]] * 2, cmap="magma_r", vmax=8)
            panel.set(xticks=[], yticks=[], aspect="equal", title=title)
    figure.tight_layout()
    figure.savefig(out / "modes.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="number of models trained in parallel, one thread each"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/examples/gan_modes"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    runs = [(toy, row, seed) for seed in range(1 if args.smoke else args.seeds) for toy in TOYS for row in args.only]
    with ProcessPoolExecutor(args.jobs, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        remaining = {key: run for run in runs if (key := "{}/{}/{}".format(*run)) not in results}
        jobs = {pool.submit(train_and_score, *run, args.smoke, args.out): key for key, run in remaining.items()}
        for job in as_completed(jobs):
            results[jobs[job]] = job.result()
            new = path.with_suffix(".new")  # written completely, then renamed
            new.write_text(json.dumps(results, indent=1))
            new.replace(path)
            print(jobs[job], {k: round(v, 4) for k, v in job.result().items()}, flush=True)
    print("data   model        seeds      modes            high quality, %     reverse KL, nats       seconds")
    for toy in TOYS:
        for row in args.only:
            print(summary(results, toy, row))
        data = pyrogen.load(toy)
        truth, x = data.truth, data.space.to_user(data.test.x[:SAMPLES])
        floor = {name: score.detail["floor"] for name, score in mode_scores(x, truth.modes, truth.std).items()}
        print(f"{toy:5}  a perfect sampler: { ({k: round(v, 4) for k, v in floor.items()}) }")
    draw(args.out, args.only)
    print(f"table and picture: {args.out}")


if __name__ == "__main__":
    main()
