"""How many data a loss speaks of."""

from typing import Any

from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrogen.traces import data_plate


class DataRows(Messenger):
    """Notes the plates around what is observed while a pair runs; ``count`` says how many data they hold."""

    changes_nothing = True

    def __init__(self) -> None:
        super().__init__()
        self._stacks: list[Any] = []

    def __enter__(self) -> "DataRows":
        self._stacks = []
        super().__enter__()
        return self

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["is_observed"]:
            self._stacks.append(msg["cond_indep_stack"])

    def count(self, args: tuple[Any, ...]) -> int:
        """The number of data: the full size of their plate; 1 where nothing is observed inside a plate."""
        first = args[0] if args else None
        rows = len(first) if isinstance(first, Tensor) and first.ndim else None
        plate = data_plate(self._stacks, rows)
        return (plate.full_size or plate.size) if plate else 1
