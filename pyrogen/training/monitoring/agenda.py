"""What is done during a run, and after which steps."""

import time
from collections.abc import Sequence

from pyrogen import ranks

LOGS, CHECKPOINTS, PICTURES, CURVES = 200, 20, 10, 4
"""How many times in a run metrics are logged, checkpoints are saved, and samples and training curves are drawn."""
LATENCY = 0.1
"""The seconds after which the body of the training loop runs although nothing is due."""


def due(t: int, steps: int, times: int) -> bool:
    """Whether what is done so many times in a run is due at step t of it."""
    return t % max(steps // times, 1) == 0 or t == steps


def validates(t: int, steps: int) -> bool:
    """Whether weights are judged: at every checkpoint, and often early on, as few data are soon overfitted."""
    return due(t, steps, CHECKPOINTS) or t & (t - 1) == 0


class Agenda:
    """Whether the body of the training loop may have something to do after step t.

    Args:
        steps, seconds: the length of the run; in a run of a given time each step may be the last.
        signals: is filled by signals.
    """

    def __init__(self, steps: int, seconds: float | None, signals: Sequence[int]) -> None:
        self.steps, self.signals = steps, signals
        # The processes of one run must agree, and have clocks of their own.
        self.always = seconds is not None or ranks.world() > 1
        self.done()

    def done(self) -> None:
        """The body has run."""
        self.since = time.perf_counter()

    def __call__(self, t: int) -> bool:
        """Whether something is due after step t, a signal came, or the body ran long ago."""
        if self.always or self.signals or time.perf_counter() - self.since > LATENCY:
            return True
        return validates(t, self.steps) or any(due(t, self.steps, times) for times in (LOGS, PICTURES, CURVES))
