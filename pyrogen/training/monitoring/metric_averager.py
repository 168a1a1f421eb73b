"""Means of logged scalars between two rows, the time of training, checks that they are finite, and their diagnosis."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any

from torch import Tensor, nn

from pyrogen.compile.verified import compiling_seconds
from pyrogen.errors import Diverged, RunWarning

COLLAPSED = 0.05
"""The KL divergence, in nats for a datum, below which z carries next to nothing of x."""
EARLY = 100
"""The number of first steps without diagnosis, in which the samples of an untrained generator hardly differ."""


class MetricAverager:
    """Sums of the step's scalars since the last logged row, read from the device only when a row is due.

    The time of training is that of steps and their batches: without compilation, and without what is ``paused``. It
    goes on where the state was saved.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.terms: dict[str, int] = {}
        self.count = 0
        self.seconds = 0.0  # until the last row
        self._paused_at: float | None = None
        self._begin()

    def _begin(self, spent: float = 0.0) -> None:
        """Begin to count the time since the last row, of which some is spent already."""
        self.since, self._compiled = self._now - spent, compiling_seconds()

    @property
    def _now(self) -> float:
        return time.perf_counter() if self._paused_at is None else self._paused_at

    def add(self, logs: Any) -> None:
        """Add the scalars of one step."""
        for name, value in logs.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.terms[name] = self.terms.get(name, 0) + 1
        self.count += 1

    @property
    def used(self) -> float:
        """The seconds of training so far, those since the last row included."""
        return self.seconds + self._spent

    @property
    def _spent(self) -> float:
        return max(self._now - self.since - (compiling_seconds() - self._compiled), 0.0)

    def close(self, t: int, batch_size: int) -> dict[str, float]:
        """Return the means since the last row and the rate in examples per second; raise ``Diverged`` unless finite."""
        row = {name: float(total) / self.terms[name] for name, total in self.sums.items()}
        broken = [name for name, value in row.items() if not isfinite(value)]
        if broken:
            raise Diverged(f"step {t}: {broken[0]} is {row[broken[0]]}, the mean over {self.terms[broken[0]]} steps")
        spent = self._spent
        self.seconds += spent
        rate = self.count * batch_size / spent if spent > 0 else 0.0
        self.sums, self.terms, self.count = {}, {}, 0
        self._begin()
        return {"t": t, **row, "seconds": round(self.seconds, 3), "examples_per_second": round(rate, 1)}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time spent inside from the training time."""
        self._paused_at = time.perf_counter()
        yield
        self.since += time.perf_counter() - self._paused_at
        self._paused_at = None

    def state_dict(self) -> dict[str, Any]:
        """Return the sums since the last row, and the training time in seconds until it and since."""
        sums = {name: total.clone() for name, total in self.sums.items()}
        times = {"seconds": self.seconds, "spent": self._spent}
        return {"sums": sums, "terms": self.terms, "count": self.count, **times}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.sums, self.terms = state["sums"], state["terms"]
        self.count, self.seconds = state["count"], state["seconds"]
        self._begin(state.get("spent", 0.0))  # version 0.1 did not store it


def check_weights(model: nn.Module, t: int) -> None:
    """Raise ``Diverged`` if a weight is not finite: a checkpoint holds finite weights alone."""
    for name, weight in model.state_dict().items():
        if weight.is_floating_point() and not bool(weight.isfinite().all()):
            raise Diverged(f"step {t}: the weight {name} is not finite")


class DiagnosticMonitor:
    """Warns once of each kind of fault, when it is found in three consecutive logged rows that can show it.

    Args:
        step: its method ``diagnose(row) -> str | None`` is called, if it has one.
    """

    def __init__(self, step: Any) -> None:
        self.checks: dict[str, Callable[[dict[str, float]], str | None]] = {"valid_kl": posterior_collapse}
        if hasattr(step, "diagnose"):
            self.checks["t"] = step.diagnose
        self.faults = dict.fromkeys(self.checks, 0)

    def after(self, row: dict[str, float]) -> None:
        """Diagnose one logged row."""
        for key in [key for key in self.checks if key in row]:
            fault = self.checks[key](row) if row["t"] > EARLY else None
            self.faults[key] = self.faults[key] + 1 if fault else 0
            if self.faults[key] == 3:
                warnings.warn(f"step {row['t']}: {fault}", RunWarning, stacklevel=3)
                del self.checks[key]


def posterior_collapse(row: dict[str, float]) -> str | None:
    """What a row says of a posterior that has become the prior; ``None`` if it has not."""
    if row["valid_kl"] > COLLAPSED:
        return None
    return (
        f"the posterior has collapsed to the prior: KL(q(z | x) ‖ p(z)) is {row['valid_kl']:.2g} nats, so the decoder "
        "does not use z; free bits (free_bits=0.5), a warm-up of the KL (warmup=1000) or a smaller decoder may help"
    )
