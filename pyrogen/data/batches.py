"""Batches as a pure function of (seed, t): the order, and the noise in the data.

Nothing is carried from one batch to the next, so a run that starts again at step ``t`` sees exactly
what an uninterrupted one sees there.
"""

from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import tee
from operator import length_hint
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pyrogen.data.checks import check_enough
from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.image_files import Pictures
from pyrogen.data.memmap import MemoryMapped
from pyrogen.data.prefetch import default_workers, prefetched
from pyrogen.data.step_arguments import Batch, moved
from pyrogen.errors import DataError
from pyrogen.random import derive, generator, scoped_seed

Source = Split | Tensor | tuple[Tensor, ...] | DataLoader[Any] | TorchDataset[Any]


def batches(
    source: Source,
    batch_size: int = 256,
    seed: int = 0,
    start: int = 0,
    device: torch.device | str | None = None,
    workers: int | None = None,
) -> Iterator[Batch]:
    """Endless shuffled batches; the first one yielded is that of step ``start + 1``.

    Every epoch is a fresh permutation, cut into ``n // batch_size`` whole batches.

    Args:
        source: a ``Split`` (``data.train``), a tensor or tuple of tensors with equal first dimension,
            or a torch ``Dataset`` or ``DataLoader``, whose order is then theirs under a seed per epoch. A batch of
            theirs that is a tuple or a list is one of several arguments; any other, as a dict, is the only one.
        batch_size: rows per batch; a ``DataLoader`` keeps its own.
        seed: with the step's number, the only thing the batches depend on.
        start: the number of batches already seen.
        device: where the batches shall lie; by default where the source lies.
        workers: processes that read rows on disk ahead, 0 for none; they change no batch. By default images of a
            folder have one for two processors, at most 8, and arrays none.

    Raises:
        DataError: if the source holds less than one batch, or is of no known form.
    """
    if isinstance(source, Dataset):
        raise DataError(f"{source.name!r} is a whole data set: give one of its splits, e.g. data.train")
    if isinstance(source, Tensor):
        source = (source,)
    if isinstance(source, tuple):
        source = _as_split(source)
    if isinstance(source, Split):
        check_enough(len(source), batch_size)
        return _from_split(source.to(device) if device else source, batch_size, seed, start, workers)
    if isinstance(source, DataLoader):
        return _from_loader(lambda _: source, seed, start, device)
    if isinstance(source, TorchDataset):
        if not isinstance(source, Sized):
            raise DataError(f"a {type(source).__name__} has no length: give a DataLoader of it")
        check_enough(len(source), batch_size)

        def loader(epoch: int) -> Iterable[Any]:
            order = generator(seed, "order", epoch)
            return DataLoader(source, batch_size, shuffle=True, drop_last=True, generator=order)

        return _from_loader(loader, seed, start, device)
    raise DataError(f"cannot make batches of a {type(source).__name__}: give a Split, tensors, a Dataset or DataLoader")


def steps_per_epoch(source: Split, batch_size: int) -> int:
    """The number of whole batches in one pass."""
    return len(source) // batch_size


def _as_split(tensors: tuple[Tensor, ...]) -> Split:
    if not tensors or not all(isinstance(t, Tensor) for t in tensors):
        given = ", ".join(type(t).__name__ for t in tensors) or "none"
        raise DataError(f"expected tensors (x, y, …); got {given}")
    if not all(t.ndim for t in tensors) or len({len(t) for t in tensors}) != 1:
        sizes = [tuple(t.shape) for t in tensors]
        raise DataError(f"expected one tensor x, or several, (x, y, …), with as many rows; got shapes {sizes}")
    x, y, *more = tensors if len(tensors) > 1 else (tensors[0], None)
    return Split(x, y, more=tuple(more))


def _from_split(split: Split, batch_size: int, seed: int, start: int, workers: int | None) -> Iterator[Batch]:
    for t, (index, stored) in enumerate(_rows(split.x, _order(split, batch_size, seed, start), workers), start):
        noise = generator(seed, "noise", t, device=split.device)
        yield split.drawn(stored, index.to(split.device), noise)


def _order(split: Split, batch_size: int, seed: int, start: int) -> Iterator[Tensor]:
    """The rows of one batch after another, on the split's device if they are in memory."""
    per_epoch = steps_per_epoch(split, batch_size)
    epoch, first = divmod(start, per_epoch)
    while True:
        order = torch.randperm(len(split), generator=generator(seed, "order", epoch))
        order = order if isinstance(split.x, MemoryMapped) else order.to(split.device)
        for i in range(first, per_epoch):
            yield order[i * batch_size : (i + 1) * batch_size]
        epoch, first = epoch + 1, 0


def _rows(x: Tensor | MemoryMapped, order: Iterator[Tensor], workers: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Each index with the stored rows there."""
    if isinstance(x, Tensor):
        return ((index, x[index]) for index in order)
    if workers is None:
        workers = default_workers() if isinstance(x.array, Pictures) else 0
    order, ahead = tee(order)
    return zip(order, prefetched(x, ahead, workers), strict=False)


def _from_loader(
    loader: Callable[[int], Iterable[Any]], seed: int, start: int, device: torch.device | str | None
) -> Iterator[Batch]:
    per_epoch = length_hint(loader(0))  # 0 for a loader that does not know it
    epoch, skip = divmod(start, per_epoch) if per_epoch else (0, start)
    t = start - skip
    while True:
        before = t
        with scoped_seed(derive(seed, "loader", epoch)):
            rows = iter(loader(epoch))
        while True:
            with scoped_seed(derive(seed, "noise", t)):
                batch = next(rows, None)
            if batch is None:
                break
            t += 1
            if t > start:
                parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
                yield moved(parts, device) if device else parts
        if t == before:
            raise DataError("the data loader gave no batch: is its data set smaller than one batch?")
        epoch += 1
