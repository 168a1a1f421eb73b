"""One warning when the diagnosis of a step's logs finds a fault."""

import warnings
from typing import Any

EARLY = 100
"""The number of first steps without diagnosis, in which the samples of an untrained generator hardly differ."""


class DiagnosticMonitor:
    """Warns once when ``step.diagnose`` finds a fault in three consecutive logged rows.

    Args:
        step: its method ``diagnose(row) -> str | None`` is called, if it has one.
    """

    def __init__(self, step: Any) -> None:
        self.diagnose = getattr(step, "diagnose", lambda row: None)
        self.faults = 0

    def after(self, row: dict[str, float]) -> None:
        """Diagnose one logged row."""
        fault = self.diagnose(row) if row["t"] > EARLY else None
        self.faults = self.faults + 1 if fault else 0
        if self.faults == 3:
            warnings.warn(f"step {row['t']}: {fault}", stacklevel=3)
            self.diagnose = lambda row: None
