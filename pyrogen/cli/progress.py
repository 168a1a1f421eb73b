"""Settings of annealed importance sampling that prints its progress."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrogen.measure.annealing import Annealing


def annealing_settings(folder: Path, gap: float | None, minutes: float | None) -> "Annealing":
    """Settings of annealed importance sampling that is kept in ``folder`` and prints each unit of work as a line."""
    from pyrogen.cli.console import given_options, message
    from pyrogen.measure.annealing import Annealing

    given = given_options(gap=gap, minutes=minutes)
    return Annealing(**given, folder=folder, show=lambda progress: message(f"ais: {progress.text}"))
