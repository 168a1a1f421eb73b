"""A handler that records the data plate and the parameter sites of a pair while it runs."""

from typing import Any

from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrogen.pyro_tools.traces import data_plate


class SiteRecorder(Messenger):
    """Records the plates around observed sites and the names of parameter sites while a pair runs.

    Attributes:
        params: the names of the parameter sites.
        is_transparent: marks a handler that changes no site, so that a compiled graph may be used inside it.
    """

    is_transparent = True

    def __init__(self) -> None:
        super().__init__()
        self._stacks: list[Any] = []
        self.params: set[str] = set()

    def __enter__(self) -> "SiteRecorder":
        self._stacks = []
        self.params = set()
        super().__enter__()
        return self

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["is_observed"]:
            self._stacks.append(msg["cond_indep_stack"])

    def _pyro_post_param(self, msg: Any) -> None:
        self.params.add(msg["name"])

    def count(self, args: tuple[Any, ...]) -> int:
        """Return the number of data: the full size of the data plate; 1 if nothing is observed inside a plate."""
        first = args[0] if args else None
        rows = len(first) if isinstance(first, Tensor) and first.ndim else None
        plate = data_plate(self._stacks, rows)
        return (plate.full_size or plate.size) if plate else 1
