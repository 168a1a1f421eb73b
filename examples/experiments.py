"""Run an experiment in which models differ in one thing, and print what it shows.

The Python equivalent of ``pyrogen experiment``. Each model is trained on several seeds; the results, with intervals
over the seeds and paired differences, are in ``results.json`` and ``page.html``. An interrupted experiment goes on
where it was: call ``pyrogen resume DIR``.

    python examples/experiments.py same-flow              # --smoke for a run of a few seconds
    python examples/experiments.py lines --seeds 3 --set models=maf,gan --set steps=200,1000
    python examples/experiments.py memory --set sizes=100,1000 --set models=mixture,gan
"""

import argparse
from pathlib import Path
from typing import Any

import pyrogen
from pyrogen.experiments import EXPERIMENTS

SMOKE = {"steps": "2,4", "models": "maf,gan", "batch_size": "16"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=EXPERIMENTS, default="lines")
    parser.add_argument("--data", help="a data set; by default that of the experiment")
    parser.add_argument("--data-root")
    parser.add_argument("--seeds", type=int, default=5, help="number of training runs per model")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the experiment")
    parser.add_argument("--out", type=Path, default=Path("runs/examples/experiments"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    options: dict[str, Any] = SMOKE if args.smoke else dict(pair.split("=", 1) for pair in args.set)
    seeds = 2 if args.smoke else args.seeds

    card = pyrogen.experiment(args.name, args.data, data_root=args.data_root, seeds=seeds, out=args.out, **options)
    print(f"{card['experiment']} on {card['data']}: {card['question']}")
    for arm, values in card["by_seed"].items():
        shown = [name for name in card["columns"] if name in values]
        print(f"{arm:20}", *(f"{name} {card['arms'][arm]['scores'][name]['value']:.4g}  " for name in shown))
    for sentence in card["findings"]:
        print(f"- {sentence}")
    print(f"page: {args.out / 'page.html'}")


if __name__ == "__main__":
    main()
