"""The log-likelihood of a model that has one."""

from typing import Any

from pyrogen.data.dataset import Split
from pyrogen.measure.evaluate import evaluate
from pyrogen.protocols import Density, Score
from pyrogen.pyro_tools.decoders import is_pair


def log_likelihood(model: Any, rows: Split, seed: int) -> Score | None:
    """The log-likelihood of rows, or a bound on it; ``None`` for a model without, of which nothing is estimated."""
    if not isinstance(model, Density) and not is_pair(model):
        return None
    return evaluate(model, rows, seed=seed)["log_likelihood"]
