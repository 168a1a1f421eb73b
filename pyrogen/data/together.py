"""Several batches in one call: their rows are gathered, and have noise, together.

Between two compiled steps an operation finds the processor's caches full of other data, and takes several times as long
as in a loop of its own. One operation for ten batches does so once.
"""

from collections.abc import Iterator
from itertools import count

import torch
from torch import Tensor

from pyrogen.data.dataset import Split
from pyrogen.data.noise import Stream, StreamedNoise
from pyrogen.data.step_arguments import Batch
from pyrogen.random import derive

MOST, MOST_BYTES = 16, 2**21
"""The most batches in one call, and the most bytes of their data: what is read then stays in a cache."""
ALIGNED = 64
"""The multiple of bytes at which torch begins a tensor; the rounding of a product may depend on where it begins."""


def most_together(split: Split, rows: int) -> int:
    """The number of batches to read in one call, each of so many rows.

    It is 1 if data depend on more than the stored row, its place in the batch and the key of the batch.
    """
    noise = split.noise is None or isinstance(split.noise, StreamedNoise)
    if not isinstance(split.x, Tensor) or not noise or split.side_fn is not None:
        return 1
    side = [part for part in (split.y, *split.more) if part is not None]
    numbers = [split.x, *(part for part in side if part.is_floating_point())]
    if any(rows * part[0].numel() * 4 % ALIGNED for part in numbers):  # as float32
        return 1
    largest = max(rows * part[0].numel() * 4 for part in (split.x, *side))
    return max(min(MOST_BYTES // max(largest, 1), MOST), 1)


def read_together(split: Split, order: Iterator[Tensor], k: int, seed: int, t: int, first_row: int) -> Iterator[Batch]:
    """Yield batches without end, reading ``k`` in one call.

    Args:
        split: the rows, in memory.
        order: the rows of each batch, beginning with that of step ``t + 1``.
        k: how many batches are read in one call.
        seed: of the run.
        t: the number of steps before the first batch.
        first_row: the number in its batch of the first row that ``order`` gives.
    """
    assert isinstance(split.x, Tensor)
    for first in count(t, k):
        rows = [next(order) for _ in range(k)]
        index = torch.cat(rows)
        keys = torch.tensor([derive(seed, "noise", first + i) for i in range(k)], device=split.device)
        data = split.materialize(split.x.index_select(0, index), index, Stream(keys, first_row))
        # A step may write into its batch: `data` has no history in common with the other batches, as a view has.
        yield from zip(*([own.data for own in part.split(len(rows[0]))] for part in data), strict=True)
