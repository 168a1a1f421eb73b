"""Batches as a pure function of (seed, t): both the order of rows and the noise in the data.

No state is carried from one batch to the next, so a run resumed at step ``t`` gets exactly the batches of an
uninterrupted run.
"""

from collections.abc import Callable, Iterator, Sized
from contextlib import nullcontext
from copy import copy
from itertools import islice, tee
from operator import length_hint
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from pyrogen.data.checks import check_batch_size
from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.loading import Rows, as_data
from pyrogen.data.memmap import MemoryMapped, NoRows
from pyrogen.data.noise import Draws, Stream, StreamedNoise
from pyrogen.data.sources.image_files import ImageFiles
from pyrogen.data.sources.prefetch import default_workers, prefetch
from pyrogen.data.step_arguments import Batch, iterate_tensors, move_to_device, take_rows
from pyrogen.data.together import most_together, read_together
from pyrogen.errors import DataError
from pyrogen.random import derive, generator, reseed, scoped_seed


def batches(
    source: Rows,
    batch_size: int = 256,
    seed: int = 0,
    start: int = 0,
    device: torch.device | str | None = None,
    workers: int | None = None,
    part: Callable[[int], slice] | None = None,
    together: int = 1,
) -> Iterator[Batch]:
    """Yield shuffled batches without end, beginning with that of step ``start + 1``.

    Every epoch is a new permutation, cut into ``n // batch_size`` full batches. Of a split with weights it is a
    systematic sample in random order, in which row i occurs n w_i / Σ w times, rounded up or down.

    Args:
        source: a ``Split`` (``data.train``); a tensor, an array, or a tuple of them with equal first dimension; a path
            or a data frame, of which ``load(source).train`` is taken; or a torch ``Dataset`` or ``DataLoader``, which
            determine their own order. The global generators of torch, numpy and ``random``, and those that are
            attributes of the loader, its samplers and its data sets, are seeded at every epoch, and worker processes
            begin anew. Their batches are the arguments of a step if they are tuples or lists; any other batch, such as
            a dict, is a single argument.
        batch_size: rows per batch; a ``DataLoader`` has its own.
        seed: batches depend only on this and the number of the step.
        start: the number of batches to skip.
        device: the device of the batches; by default that of the source.
        workers: the number of processes that prefetch rows from disk, 0 for none; batches do not depend on it. By
            default one per two processors, at most 8, for image folders, and none for arrays.
        part: which of the rows of a batch are yielded, by their number; all by default. Of a ``Split`` no others are
            read; of a loader whole batches are.
        together: the most batches of a ``Split`` in memory that are read in one call, which is faster: those of
            steps ``i k + 1`` to ``i k + k``. They do not depend on it, unless rows are changed meanwhile.

    Raises:
        DataError: if the source has fewer rows than one batch, or has an unsupported type.
    """
    source = as_training_data(source)
    if isinstance(source, Split):
        check_batch_size(len(source), batch_size)
        rows = slice(None) if part is None else part(batch_size)
        split = source.to(device) if device else source
        return _from_split(split, batch_size, seed, start, workers, rows, together)
    if isinstance(source, DataLoader):
        return _parts(_from_loader(lambda _: source, source, seed, start, device), part)
    if isinstance(source, TorchDataset):
        if not isinstance(source, Sized):
            raise DataError(f"a {type(source).__name__} has no length: pass a DataLoader of it")
        check_batch_size(len(source), batch_size)

        def loader(epoch: int) -> DataLoader[Any]:
            order = generator(seed, "order", epoch)
            return DataLoader(source, batch_size, shuffle=True, drop_last=True, generator=order)

        return _parts(_from_loader(loader, source, seed, start, device), part)
    expected = "a Split, tensors, arrays, a path, a data frame, a torch Dataset or a DataLoader"
    raise DataError(f"expected {expected}; got a {type(source).__name__}")


def as_training_data(source: Any) -> Any:
    """A ``Split``, for a path or a data frame that of its training rows; other objects are returned unchanged.

    Raises:
        DataError: if it is a whole data set, or cannot be read.
    """
    if isinstance(source, Dataset):
        raise DataError(f"expected one split, e.g. data.train; got the whole data set {source.name!r}")
    source = as_data(source)
    return source.train if isinstance(source, Dataset) else source


def steps_per_epoch(source: Split, batch_size: int) -> int:
    """The number of full batches in one epoch."""
    return len(source) // batch_size


def batch_rows(source: Split, batch_size: int, seed: int, t: int) -> Tensor:
    """The rows of ``source`` in the batch of step ``t`` (from 1), ``long (batch_size,)``."""
    return next(_order(source, batch_size, seed, t - 1))


def _parts(source: Iterator[Batch], part: Callable[[int], slice] | None) -> Iterator[Batch]:
    """Of each batch the rows that ``part`` says; those of its first tensor that has any are counted."""
    for batch in source:
        rows = None if part is None else next((len(t) for t in iterate_tensors(batch) if t.ndim), None)
        yield batch if part is None or rows is None else take_rows(batch, part(rows), rows)


def _from_split(
    split: Split, batch_size: int, seed: int, start: int, workers: int | None, rows: slice, together: int
) -> Iterator[Batch]:
    k = min(together, most_together(split, len(range(batch_size)[rows]))) if together > 1 else 1
    if k > 1:
        before = start % k
        order = (index[rows] for index in _order(split, batch_size, seed, start - before))
        return islice(read_together(split, order, k, seed, start - before, rows.start or 0), before, None)
    return _one_by_one(split, batch_size, seed, start, workers, rows)


def _one_by_one(
    split: Split, batch_size: int, seed: int, start: int, workers: int | None, rows: slice
) -> Iterator[Batch]:
    order = (index[rows] for index in _order(split, batch_size, seed, start))
    # Draws that are no function of the row: those of the first part, or of a whole batch, have the name of the step.
    of_part = (rows.start,) if rows.start else ()
    for t, (index, stored) in enumerate(_stored_rows(split.x, order, workers), start):
        draws: Draws
        if isinstance(split.noise, StreamedNoise):
            draws = Stream(torch.tensor(derive(seed, "noise", t), device=split.device), rows.start or 0)
        else:
            draws = generator(seed, "noise", t, *of_part, device=split.device)
        side = scoped_seed(derive(seed, "side", t, *of_part)) if split.side_fn else nullcontext()
        with side:  # side_fn may draw by the global generators
            batch = split.materialize(stored, index.to(split.device), draws)
        yield batch


def _order(split: Split, batch_size: int, seed: int, start: int) -> Iterator[Tensor]:
    """Yield the row indices of each batch, on the split's device if its rows are in memory."""
    per_epoch = steps_per_epoch(split, batch_size)
    epoch, first = divmod(start, per_epoch)
    while True:
        order = _epoch(len(split), split.weights, generator(seed, "order", epoch))
        order = order if isinstance(split.x, MemoryMapped) else order.to(split.device)
        for i in range(first, per_epoch):
            yield order[i * batch_size : (i + 1) * batch_size]
        epoch, first = epoch + 1, 0


def _epoch(n: int, weights: Tensor | None, draws: torch.Generator) -> Tensor:
    """The rows of an epoch in random order, ``long (n,)``."""
    order = torch.randperm(n, generator=draws)
    if weights is None:
        return order
    share = weights.double().cpu().cumsum(0)
    places = (order + torch.rand((), dtype=torch.float64, generator=draws)) * (share[-1] / n)
    return torch.searchsorted(share, places, right=True).clamp_(max=int(weights.nonzero()[-1]))


def _stored_rows(
    x: Tensor | MemoryMapped | NoRows, order: Iterator[Tensor], workers: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each index with the rows stored there."""
    if isinstance(x, Tensor):
        return ((index, x.index_select(0, index)) for index in order)  # 10 to 20 times faster than x[index] on a CPU
    if not isinstance(x, MemoryMapped):
        return ((index, x[index]) for index in order)
    if workers is None:
        workers = default_workers() if isinstance(x.array, ImageFiles) else 0
    order, lookahead = tee(order)
    return zip(order, prefetch(x, lookahead, workers), strict=False)


def _from_loader(
    loader: Callable[[int], DataLoader[Any]], given: Any, seed: int, start: int, device: torch.device | str | None
) -> Iterator[Batch]:
    """Yield the batches of ``loader(epoch)``; skipped ones of an epoch are read, as later ones may depend on them.

    Args:
        loader: the loader of an epoch.
        given: what the user gave, a loader or a data set.
        seed, start, device: as for ``batches``.
    """
    per_epoch = length_hint(loader(0))  # 0 for a loader that does not know it
    epoch, skip = divmod(start, per_epoch) if per_epoch else (0, start)
    t = start - skip
    while True:
        before, seed_of_epoch = t, derive(seed, "loader", epoch)
        _reseed(given, seed_of_epoch)
        with scoped_seed(seed_of_epoch):
            rows = iter(_without_workers(loader(epoch)))
        while True:
            with scoped_seed(derive(seed, "noise", t)):
                batch = next(rows, None)
            if batch is None:
                break
            t += 1
            if t > start:
                parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
                yield move_to_device(parts, device) if device else parts
        if t == before:
            raise DataError("the data loader yielded no batch: is its data set smaller than one batch?")
        epoch += 1


def _reseed(source: Any, seed: int, depth: int = 4) -> None:
    """Seed the generators of a loader or a data set, and of the samplers and data sets that it is made of."""
    reseed(source, seed)
    parts = {**getattr(source, "__dict__", {}), **dict(enumerate(getattr(source, "datasets", ())))}
    for name, part in parts.items() if depth else ():
        if isinstance(part, TorchDataset | Sampler):
            _reseed(part, derive(seed, name), depth - 1)


def _without_workers(loader: DataLoader[Any]) -> DataLoader[Any]:
    """The loader without running workers: persistent ones would go on with their random state of the epoch before."""
    if not loader.persistent_workers:
        return loader
    fresh = copy(loader)
    fresh._iterator = None
    return fresh
