"""The Markdown table of an experiment's results: a row per model, a column per score with its 95% interval.

python docs/scripts/experiment_table.py runs/lines --scores w1 kl high_quality
"""

import argparse
import json
from pathlib import Path
from typing import Any


def cell(score: dict[str, Any] | None) -> str:
    """A value with as many digits as its interval carries, and the interval."""
    if score is None:
        return "–"
    low, high = score["interval"]
    digits = 2 if high - low < 2e-2 * abs(score["value"]) else 3
    value, low, high = (f"{number:.{digits + 1}g}" for number in (score["value"], low, high))
    return f"{value} ({low} to {high})"


def main() -> None:
    """Read results.json and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scores", nargs="+", help="their names; by default the columns of the page")
    given = parser.parse_args()
    card = json.loads((given.folder / "results.json").read_text(encoding="utf-8"))
    names = given.scores or card["columns"]
    print(f"{card['experiment']} on {card['data']}, {len(card['seeds'])} seeds, options {card['options']}")
    print("| Model | At | Training (s) | " + " | ".join(names) + " |")
    print("|---" * (3 + len(names)) + "|")
    for name, arm in (card["arms"] | card["anchors"]).items():
        seconds = f"{arm['train_seconds']:.3g}" if arm.get("train_seconds") else ""
        scores = arm.get("scores", {})
        cells = [arm.get("line") or name, f"{arm.get('at') or ''}", seconds, *(cell(scores.get(n)) for n in names)]
        print("| " + " | ".join(cells) + " |" + (f" {arm['error']}" if arm.get("error") else ""))


if __name__ == "__main__":
    main()
