"""Compare models on a table of mixed columns: integers, amounts, counts, yes/no and categories.

The table is made by a seeded script and written as a CSV file. Its columns depend on each other: income on age and
occupation, the number of children on age, home ownership on income and age. Discrete columns are dequantised, so that
densities bound the probability of a row, and samples are written back on their lattice with the names and types of the
table. The report shows the marginals of all columns and the pairs that depend on each other most.

    python examples/table_compare.py                      # --smoke for a run of a few seconds
    python examples/table_compare.py --models gaussian spline --seeds 3
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np

import pyrogen

OCCUPATIONS = ("crafts", "farming", "office work", "research", "none")
MODELS = ("gaussian", "mixture", "maf", "vae", "wgan-gp")


def people(n: int, seed: int = 0) -> dict[str, list[object]]:
    """A table of ``n`` invented people."""
    draws = np.random.default_rng(seed)
    occupation = draws.choice(5, n, p=(0.3, 0.05, 0.35, 0.1, 0.2))
    age = np.clip(18 + 12 * draws.gamma(2.5, size=n) + 4 * (occupation == 3), 18, 95).astype(int)
    wage = np.array([10.1, 9.9, 10.3, 10.7, 9.2])[occupation]
    income = np.exp(wage + 0.012 * (age - 45) + 0.45 * draws.standard_normal(n)).round().astype(int)
    children = draws.poisson(np.clip((age - 20) / 16, 0.02, 1.7))
    logit = 0.06 * (age - 48) + 1.4 * np.log(income / 30_000)
    owner = draws.random(n) < 1 / (1 + np.exp(-logit))
    return {
        "age": age.tolist(),
        "income": income.tolist(),
        "children": children.tolist(),
        "owns a home": np.where(owner, "yes", "no").tolist(),
        "occupation": [OCCUPATIONS[i] for i in occupation],
    }


def likelihood(scores: dict[str, Any]) -> str:
    if "log_likelihood" not in scores:
        return "–"
    score = scores["log_likelihood"]
    return f"{score['value']:.2f} ± {score['stderr']:.2f} nats ({score['kind'].replace('_', ' ')})"


def c2st(scores: dict[str, Any]) -> str:
    return f"C2ST accuracy {scores['c2st']['value']:.2f}" if "c2st" in scores else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=1, help="number of training runs per model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/table_compare"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    models, steps, rows = (["gaussian", "gan"], 3, 500) if args.smoke else (args.models, args.steps, args.rows)

    args.out.mkdir(parents=True, exist_ok=True)
    table = people(rows, args.seed)
    with (args.out / "people.csv").open("w", newline="") as file:
        csv.writer(file).writerows([list(table), *zip(*table.values(), strict=True)])

    folder = args.out / "comparison"
    card = pyrogen.compare(models, args.out / "people.csv", steps=steps, seeds=args.seeds, seed=args.seed, out=folder)
    print(f"{card['data']}: {card['space']}; {steps} steps for each model")
    for name, entry in card["models"].items():
        print(f"{name:12} {likelihood(entry['scores']):36} {c2st(entry['scores'])}")
    print(f"report: {folder / 'report.html'}")


if __name__ == "__main__":
    main()
