"""Exact log-likelihood of densities on ``digits``, without labels and given them; nats per test datum.

    python docs/scripts/conditional_densities.py maf made --steps 2000

Each row is a model: log p(x) of the unconditional density, then of the conditional one the marginal
log p(x) = log Σ_y p(y) p(x | y) and log p(x | y), and the seconds that both took.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from pyrogen.training import Run, configure, train

MODELS = ("mixture", "realnvp", "maf", "spline", "made", "pixelcnn")


def trained(name: str, condition: str, steps: int) -> Any:
    """The model and its data after a run with the recipe's defaults."""
    with tempfile.TemporaryDirectory() as folder:
        config = configure(name, "digits", compile=False, options={"condition": condition, "steps": steps})
        return train(Run.create(Path(folder) / "run", config))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    for name in options.models:
        began = time.perf_counter()
        plain, given = (trained(name, condition, options.steps) for condition in ("none", "label"))
        seconds = time.perf_counter() - began
        x, y = given.data.test.tensors()
        with torch.no_grad():
            scores = [plain.model.log_prob(x), given.model.log_prob(x), given.model.log_prob(x, y)]
        values = " ".join(f"{float(s.mean()):8.2f} ± {float(s.std() / len(s) ** 0.5):.2f}" for s in scores)
        print(f"{name:9} {values}   {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
