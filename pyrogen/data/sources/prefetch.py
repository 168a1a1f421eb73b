"""Prefetching of rows from disk by worker processes."""

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

from pyrogen.data.memmap import MemoryMapped, to_default_dtype
from pyrogen.errors import DataError

_MOST_WORKERS = 8
_GRACE_SECONDS = 5.0  # a worker keeps running this long after SIGTERM or SIGHUP


def default_workers() -> int:
    """One worker per two processors available to this process, at least 1 and at most 8."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus // 2, _MOST_WORKERS))


def prefetch(rows: MemoryMapped, order: Iterator[Tensor], workers: int) -> Iterator[Tensor]:
    """Yield the rows at each index, on their device; each worker prefetches two batches.

    The workers start with the first batch and end with this iterator.

    Args:
        rows: the rows on disk.
        order: indices, each ``long (batch,)`` on the CPU; the batches depend only on them.
        workers: the number of processes; with 0, batches are read in this process on demand.

    Raises:
        DataError: when the iteration reaches a batch that cannot be read.
    """
    loader: DataLoader[Tensor | DataError] = DataLoader(
        _Reader(rows.to("cpu")),
        batch_size=None,
        sampler=(index.numpy() for index in order),
        num_workers=workers,
        pin_memory=rows.device.type == "cuda",
        worker_init_fn=_ignore_signals,
        generator=torch.Generator(),  # by default a DataLoader draws from the global generator
    )
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        yield to_default_dtype(batch).to(rows.device, non_blocking=True)


class _Reader(TorchDataset[Any]):
    """Reads batches by index; returns a ``DataError``, because one raised in a worker would carry its traceback."""

    def __init__(self, rows: MemoryMapped) -> None:
        self.rows = rows

    def __getitem__(self, index: NDArray[Any]) -> Tensor | DataError:
        try:
            return self.rows[torch.from_numpy(index)]
        except DataError as error:
            return error


def _ignore_signals(_: int) -> None:
    """Ignore Ctrl-C and delay the other signals: the main process still has a step and a checkpoint to finish."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as nohup leaves it
            signal.signal(signum, _exit_later)


def _exit_later(*_: Any) -> None:
    timer = Timer(_GRACE_SECONDS, os._exit, (0,))
    timer.daemon = True
    timer.start()
