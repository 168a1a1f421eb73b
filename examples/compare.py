"""Train explicit and implicit models with the same budget and split, and write one scorecard.

The Python equivalent of ``pyrogen compare``: it returns the scores as a dictionary, each marked as exact, a bound or an
estimate, and writes ``report.html`` with the scores, samples and training curves.

    python examples/compare.py                            # --smoke for a run of a few seconds
    python examples/compare.py --models gaussian vae gan wgan --seeds 3
"""

import argparse
from pathlib import Path
from typing import Any

import pyrogen

SIGNS = {"exact": "=", "lower_bound": "≥", "upper_bound": "≤", "estimate": "≈", "statistic": " "}
COLUMNS = {"log_likelihood": "nats", "bits_per_dim": "bits/dim", "mmd2": "MMD²", "c2st": "C2ST accuracy"}


def cell(scores: dict[str, Any], name: str) -> str:
    if name not in scores:
        return "–"
    return f"{SIGNS[scores[name]['kind']]} {scores[name]['value']:.4g} ± {scores[name]['stderr']:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["gaussian", "vae", "gan", "wgan"])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-root")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=1, help="number of training runs per model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/compare"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    models, steps = (["gaussian", "gan"], 3) if args.smoke else (args.models, args.steps)

    card = pyrogen.compare(
        models, args.data, data_root=args.data_root, steps=steps, seeds=args.seeds, seed=args.seed, out=args.out
    )
    print(
        f"{card['data']}: {card['space']}; {steps} steps with batches of {card['budget']['batch_size']} for each model"
    )
    print(f"{'model':24}", *(f"{title:>18}" for title in COLUMNS.values()))
    anchors = {f"({name}, anchor)": entry for name, entry in card["anchors"].items()}
    for name, entry in {**card["models"], **anchors}.items():
        print(f"{name:24}", *(f"{cell(entry['scores'], column):>18}" for column in COLUMNS))
    print("= exact   ≥ lower bound   ≤ upper bound   ≈ estimate")
    print(f"report: {args.out / 'report.html'}")


if __name__ == "__main__":
    main()
