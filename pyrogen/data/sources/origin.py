"""How a data set was loaded, by which it can be loaded again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Origin:
    """The arguments by which ``load`` read a data set.

    Args:
        source, root, seed, options: as for ``load``.
    """

    source: Any
    root: str | Path | None
    seed: int
    options: Mapping[str, Any]
