"""One plain warning when a step finds fault with its own logs."""

import warnings
from typing import Any

EARLY = 100
"""Steps in which samples hardly differ because nothing is learned yet."""


class DiagnosticMonitor:
    """Warns, once, when a step that can judge its logs finds fault with three rows in a row.

    Args:
        step: whose ``diagnose(row) -> str | None`` is asked, if it has one.
    """

    def __init__(self, step: Any) -> None:
        self.diagnose = getattr(step, "diagnose", lambda row: None)
        self.faults = 0

    def after(self, row: dict[str, float]) -> None:
        """Look at one logged row."""
        fault = self.diagnose(row) if row["t"] > EARLY else None
        self.faults = self.faults + 1 if fault else 0
        if self.faults == 3:
            warnings.warn(f"step {row['t']}: {fault}", stacklevel=3)
            self.diagnose = lambda row: None
