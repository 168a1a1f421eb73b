"""Validation log-likelihood of runs against the time they took, beside the figure that was asked of each.

    python docs/scripts/learning_curves.py runs/made:-1023 runs/maf:-1272

Draws ``docs/images/mnist-logit.png``.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

from pyrogen.training import Run

OUT = Path(__file__).parent.parent / "images" / "mnist-logit.png"


def main() -> None:
    """Draw one curve for each ``FOLDER:NATS``."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    best = []
    for given in sys.argv[1:]:
        folder, asked = given.rsplit(":", 1)
        rows = [row for row in Run.open(folder).metrics() if "valid_loss" in row]
        minutes, nats = [row["seconds"] / 60 for row in rows], [-row["valid_loss"] for row in rows]
        (curve,) = axes.plot(minutes, nats, "o-", markersize=3, label=Path(folder).name)
        axes.axhline(float(asked), color=curve.get_color(), lw=1, ls=":")
        best.append(max(nats))
        print(f"{folder}: {best[-1]:.1f} nats after {minutes[-1]:.1f} minutes; asked {asked}")
    axes.set(xlabel="minutes of training", ylabel="validation log-likelihood (nats)", ylim=(-1450, max(best) + 60))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(OUT, dpi=150)


if __name__ == "__main__":
    main()
