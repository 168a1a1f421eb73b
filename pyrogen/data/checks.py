"""Validation of data: each check raises ``DataError`` with what was given and what was expected."""

from math import ceil

import torch
from torch import Tensor

from pyrogen.data.space import Space
from pyrogen.errors import DataError
from pyrogen.random import random_rows

REPEATED = 0.05
"""A real value that takes at least this share of the rows makes a density unbounded."""
_MOST_ROWS, _MOST_VALUES = 10_000, 2**22


def check_finite(x: Tensor, where: str) -> None:
    """Raise if a tensor is empty or has NaN or infinite values.

    Args:
        x: any shape and dtype.
        where: the file or argument that ``x`` comes from; the message begins with it.

    Raises:
        DataError: naming the shape, or the number of values that are not finite.
    """
    if x.numel() == 0:
        raise DataError(f"{where}: expected some data, got shape {tuple(x.shape)}")
    # NaN and infinity propagate to the minimum and maximum, so valid data cost one pass and no copy.
    if not torch.stack(x.aminmax()).isfinite().all():
        nan, infinite = int(x.isnan().sum()), int(x.isinf().sum())
        rows = (~x.flatten(1).isfinite()).any(1).nonzero().flatten().tolist() if x.ndim > 1 else []
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        first = f", in row{'s' * (len(rows) > 1)} {', '.join(str(row + 1) for row in rows[:5])}{more}" if rows else ""
        raise DataError(f"{where}: expected finite values, got {nan} NaN and {infinite} infinite of {x.numel()}{first}")


def check_images(x: Tensor, where: str) -> None:
    """Raise unless ``x`` is a batch of images.

    Args:
        x: ``(n, c, h, w)`` with one or three channels: ``uint8`` intensities, or floats in [0, 1].
        where: the file or argument that ``x`` comes from; the message begins with it.

    Raises:
        DataError: on another shape or dtype, on NaN, and on values outside [0, 1].
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise DataError(f"{where}: expected images (n, c, h, w) with 1 or 3 channels, got shape {tuple(x.shape)}")
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise DataError(f"{where}: expected images of dtype uint8, or floats in [0, 1], got {x.dtype}")
    check_finite(x, where)
    if x.dtype == torch.uint8:
        return
    low, high = (float(v) for v in x.aminmax())
    if low < 0 or high > 1:
        raise DataError(f"{where}: expected values in [0, 1], got {low:g} to {high:g}; {_rescale(low, high)}")


def _rescale(low: float, high: float) -> str:
    """Suggest how to rescale values in [low, high] to [0, 1]."""
    if low >= 0 and high <= 255:
        return "divide by 255" if high > 16 else f"divide by the greatest value there can be, such as {high:g}"
    if low >= -1 and high <= 1:
        return "use (x + 1) / 2"
    return "use (x - x.min()) / (x.max() - x.min())"


def check_sets(measure: str, least: int, **sets: Tensor) -> None:
    """Raise unless a measure can be computed of these sets.

    Args:
        measure: its name; the message begins with it.
        least: the fewest rows of each set.
        sets: tensors ``(·, *event)`` by name.

    Raises:
        DataError: if a set has fewer rows, or other data than the first, or values that are not finite.
    """
    first = next(iter(sets.values()))
    for name, x in sets.items():
        if x.ndim == 0 or len(x) < least:
            got = "a number" if x.ndim == 0 else f"{len(x)}"
            raise DataError(f"{measure}: expected at least {least} rows of {name}, got {got}")
        if x.shape[1:] != first.shape[1:]:
            shapes = f"{tuple(first.shape[1:])} and {tuple(x.shape[1:])}"
            raise DataError(f"{measure}: expected {', '.join(sets)} of one shape, got {shapes}")
        bad = int((~x.isfinite()).flatten(1).any(1).sum()) if x.ndim > 1 else int((~x.isfinite()).sum())
        if bad:
            raise DataError(f"{measure}: expected finite values, got {bad} of {len(x)} rows of {name} that are not")


def check_batch_size(n: int, batch_size: int) -> None:
    """Raise if the training set is smaller than one batch: an epoch would have no full batch.

    Args:
        n: the number of training rows.
        batch_size: the number of rows in a batch.

    Raises:
        DataError: naming both numbers.
    """
    if batch_size < 1:
        raise DataError(f"expected a batch size of at least 1, got {batch_size}")
    if n < batch_size:
        raise DataError(
            f"expected at least {batch_size} training rows, one batch; got {n}: use --batch-size {n} or less"
        )


def check_weights(weights: Tensor, n: int) -> None:
    """Raise unless ``weights`` are sampling weights of ``n`` rows.

    Args:
        weights: ``(n,)``.
        n: the number of rows.

    Raises:
        DataError: on another shape, values below 0 or not finite, or no value above 0.
    """
    if weights.shape != (n,):
        raise DataError(f"weights: expected one for each of {n} rows, got shape {tuple(weights.shape)}")
    check_finite(weights, "weights")
    low, high = (float(v) for v in weights.aminmax())
    if low < 0 or not high:
        raise DataError(f"weights: expected values of at least 0, one of them above; got {low:g} to {high:g}")


def unbounded_reason(x: Tensor, space: Space | None = None, seed: int = 0) -> str | None:
    """Why a density can grow without bound on these data; ``None`` if they are continuous or dequantised.

    A density may have a peak of any height at a value that repeats. A dimension is one of repeated values if a value
    takes at least ``REPEATED`` of the rows, at most half of the values are distinct, or all are whole numbers. Grey
    levels and discrete columns that were dequantised are continuous.

    Args:
        x: the data in model coordinates, ``(n, *event)``.
        space: their space; ``None`` for rows as they are.
        seed: of the rows that are looked at, at most 10,000.
    """
    if len(x) < 3 or (space is not None and (space.levels or space.probability == "mass")):
        return None
    x = x.flatten(1) if x.ndim > 1 else x[:, None]
    columns = [] if space is None else [(c.name, c.step) for c in space.columns for _ in range(c.width)]
    rows = random_rows(x, min(_MOST_ROWS, max(1000, _MOST_VALUES // x.shape[1])), seed, "repeated")
    rows = rows.T.contiguous().sort(1).values  # (d, n), which sorts faster than columns
    n, most = rows.shape[1], max(3, ceil(REPEATED * rows.shape[1]))
    distinct = 1 + (rows[:, 1:] != rows[:, :-1]).sum(1)
    often = (rows[:, most - 1 :] == rows[:, : n - most + 1]).any(1)
    found = often | (2 * distinct <= n) | (rows == rows.round()).all(1)
    if len(columns) == x.shape[1]:
        found &= torch.tensor([not step for _, step in columns], device=found.device)
    if not found.any():
        return None
    i, others = int(found.int().argmax()), int(found.sum()) - 1
    name = f"column {columns[i][0]!r}" if len(columns) == x.shape[1] else f"dimension {i}"
    also = f", as {others} others do" if others else ""
    values = f"{name} repeats values ({int(distinct[i]):,} distinct in {n:,} rows){also}"
    return f"{values}: a density on it has no upper bound, and a higher one need not be better"
