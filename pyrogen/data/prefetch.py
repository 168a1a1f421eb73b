"""Rows on disk are read ahead by worker processes, while the device is busy with earlier ones."""

import os
import signal
from collections.abc import Iterator
from threading import Timer
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pyrogen.data.memmap import MemoryMapped, floats
from pyrogen.errors import DataError

_MOST_WORKERS = 8
_GRACE = 5.0  # seconds that a worker goes on for after SIGTERM


def default_workers() -> int:
    """One worker for two of the processors that this process may use, at least 1 and at most 8."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus // 2, _MOST_WORKERS))


def prefetched(rows: MemoryMapped, order: Iterator[Tensor], workers: int) -> Iterator[Tensor]:
    """The rows at one index after another, on their device; two batches for each worker are read ahead.

    The workers start with the first batch, and end with this iterator.

    Args:
        rows: the rows on disk.
        order: indices, each ``long (batch,)`` on the CPU; what is read depends on them alone.
        workers: the number of processes; 0 reads in this one, when a batch is asked for.

    Raises:
        DataError: in the turn of the batch that cannot be read.
    """
    loader: DataLoader[Tensor | DataError] = DataLoader(
        _Reader(rows.to("cpu")),
        batch_size=None,
        sampler=(index.numpy() for index in order),
        num_workers=workers,
        pin_memory=rows.device.type == "cuda",
        worker_init_fn=_leave_signals,
        generator=torch.Generator(),  # else it draws from the global one
    )
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        yield floats(batch).to(rows.device, non_blocking=True)


class _Reader(TorchDataset[Any]):
    """Batches by their index; an error is handed over, as raised in a worker it would come with a traceback."""

    def __init__(self, rows: MemoryMapped) -> None:
        self.rows = rows

    def __getitem__(self, index: NDArray[Any]) -> Tensor | DataError:
        try:
            return self.rows[torch.from_numpy(index)]
        except DataError as error:
            return error


def _leave_signals(_: int) -> None:
    """Leave Ctrl-C, and a SIGTERM to all processes, to the run, which has a step and a checkpoint to finish."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)


def _end_later(*_: Any) -> None:
    timer = Timer(_GRACE, os._exit, (0,))
    timer.daemon = True
    timer.start()
