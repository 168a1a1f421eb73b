"""A training step that several processes take together, each with its rows of the batch."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from pyrogen import ranks
from pyrogen.data.step_arguments import Batch, iterate_tensors
from pyrogen.training.distributed.agreement import added, check_same, copy_first
from pyrogen.training.distributed.batch_norm import batch_norm_over_ranks
from pyrogen.training.seen import parts_of


class SharedSteps:
    """Calls a step inside ``ranks.sharing``, and keeps its state the same in all processes; for one, calls it alone.

    Before its first call the state of process 0 is copied into all, and after it once more, as the first call may have
    made parameters. At powers of two and at the last step the weights of the processes are compared.

    Args:
        step: what is called.
        first, last: the numbers of the first and of the last step.
        batch_size: the number of rows of a batch; ``None`` if it is told by adding up those of the processes.
    """

    def __init__(
        self, step: Callable[..., Mapping[str, Tensor]], first: int, last: int, batch_size: int | None
    ) -> None:
        self.step, self.first, self.last, self.batch_size = step, first, last, batch_size
        self.modules: list[Any] = []

    def __call__(self, t: int, batch: Batch) -> Mapping[str, Tensor]:
        """Take step ``t`` on this process's rows of the batch; return the scalars of the whole batch.

        Raises:
            RunError: if another process has ended, or the processes have different weights.
        """
        if ranks.world() == 1:
            return self.step(*batch)
        with ranks.connected():
            if t == self.first:
                self._copy()
            rows = next((len(part) for part in iterate_tensors(batch) if part.ndim), 1)
            size = self.batch_size or int(added(rows))
            with ranks.sharing(rows, size), batch_norm_over_ranks(self.modules):
                logs = ranks.mean(self.step(*batch))
            if t == self.first:
                self._copy()
            since = t - self.first + 1
            if since & (since - 1) == 0 or t == self.last:
                check_same(dict(_tensors(self._state())), t)
            return logs

    def _copy(self) -> None:
        copy_first([tensor for _, tensor in _tensors(self._state())])
        self.modules = list(parts_of(self.step))

    def _state(self) -> Any:
        return self.step.state_dict() if hasattr(self.step, "state_dict") else {}


def _tensors(state: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a nested state with their paths."""
    if isinstance(state, Tensor):
        yield path, state
    elif isinstance(state, Mapping | tuple | list):
        for key, part in state.items() if isinstance(state, Mapping) else enumerate(state):
            if key != "template":  # of a batch, whose size is the process's own
                yield from _tensors(part, f"{path}.{key}" if path else str(key))
