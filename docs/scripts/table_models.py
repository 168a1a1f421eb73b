"""Every model of vectors on tables of awkward units, beside a diagonal Gaussian.

    OMP_NUM_THREADS=1 python docs/scripts/table_models.py [TABLE ...] [--models NAME ...] [--steps N] [--json FILE]

Each model is trained by its default recipe, unless ``--steps`` says otherwise. Columns of the result: the
log-likelihood in the user's units minus that of a diagonal Gaussian fitted by maximum likelihood to the training rows,
in nats per column (its kind beside it); the largest and the median relative error of the standard deviation of a column
of 10,000 samples against that of the whole table; seconds of training.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import pyrogen
from pyrogen import Sampler
from pyrogen.data import Dataset
from pyrogen.explicit import Gaussian
from pyrogen.measure import in_chunks
from pyrogen.recipes import RECIPES
from pyrogen.training import Run, configure, train

OMITTED = ("cgan", "cvae", "vaegan")  # they need labels, or data in [0, 1]


def tables() -> dict[str, NDArray[Any]]:
    """The tables by name."""
    r = np.random.default_rng(0)
    mixing = np.array([[1.0, 0.6, 0.0], [0.0, 0.8, 0.5], [0.0, 0.0, 0.9]])
    rates = np.exp(r.normal(0, 1, 300)) * 2
    cells = np.exp(r.normal(0, 0.4, (200, 1)))
    genes = r.poisson(r.gamma(2, rates / 2 * cells))
    return {
        "scales": r.normal(size=(3000, 3)) @ mixing * [20_000, 1, 0.01] + [50_000, 0, 3],
        "millions": r.normal(size=(3000, 4)) * 1e6,
        "student": r.standard_t(2, size=(3000, 3)),
        "bytes": np.clip(r.normal(128, 40, size=(3000, 4)), 0, 255),
        "genes": genes[:, genes.std(0) > 0],
        "counts": np.c_[r.poisson(3, 5000), r.integers(0, 2, 5000), r.poisson(1, 5000)],
    }


def diagonal(data: Dataset) -> float:
    """The log-likelihood of a diagonal Gaussian, in nats."""
    fitted = Gaussian.from_data(data.train.tensors()[0], "diagonal")
    return pyrogen.evaluate(fitted, data.test)["log_likelihood"].value


def measure(name: str, file: Path, steps: int | None) -> dict[str, Any]:
    """Train one model on one table and measure it."""
    options = {} if steps is None else {"steps": min(steps, RECIPES[name].bind({})["steps"])}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        trained = train(Run.create(Path(folder) / "run", configure(name, str(file), options=options)))
        seconds = time.perf_counter() - began
    data, table = trained.data, np.load(file)
    result: dict[str, Any] = {"model": name, "table": file.stem, "seconds": round(seconds, 1)}
    scores = pyrogen.evaluate(trained.model, data.test)
    score = scores.get("log_likelihood", scores.get("kde"))
    if score is not None:
        result |= {"nats_per_column": (score.value - diagonal(data)) / data.dims, "kind": score.kind}
        result["stderr"] = score.stderr / data.dims
    if "reconstruction" in scores:
        result["reconstruction"] = scores["reconstruction"].value
    if isinstance(trained.model, Sampler):
        with torch.no_grad():
            rows = data.space.to_user(in_chunks(trained.model, 10_000)).numpy()
        error = np.abs(rows.std(0) / table.std(0) - 1)
        result |= {"worst_deviation": float(error.max()), "median_deviation": float(np.median(error))}
        result["finite"] = bool(np.isfinite(rows).all())
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", default=list(tables()))
    parser.add_argument("--models", nargs="*", default=None)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    results = []
    for table in args.tables:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{table}.npy"
            np.save(file, tables()[table])
            for name in args.models or [n for n in sorted(RECIPES) if n not in OMITTED]:
                torch.manual_seed(0)
                try:
                    results.append(measure(name, file, args.steps))
                except ValueError as refused:
                    print(f"{table:10} {name:18} refused: {refused}", flush=True)
                    continue
                text = {k: f"{v:.3f}" if isinstance(v, float) else v for k, v in results[-1].items()}
                print(f"{table:10} {name:18}", *(f"{k}={v}" for k, v in text.items() if k not in ("model", "table")))
                if args.json:
                    args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
