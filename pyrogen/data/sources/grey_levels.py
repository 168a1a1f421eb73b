"""Images in arrays: whether their values are zeros and ones, grey levels, or real numbers in [0, 1].

A density on grey levels has no upper bound, so values that are multiples of one fraction, also in floating point, are
read as grey levels, to be dequantised.
"""

import warnings
from math import gcd
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.checks import check_images
from pyrogen.data.sources.image_files import bit_depth
from pyrogen.data.sources.tensors import as_tensor
from pyrogen.data.space import Space
from pyrogen.errors import DataError, DataWarning
from pyrogen.nn.precision import default_dtype

_MOST_LEVELS = 256
_CHUNK = 2**22
_SAMPLE = 100_000


def image_rows(x: NDArray[Any], where: str, space: Space | None = None) -> tuple[Tensor, Space]:
    """Images as stored rows and their space.

    Args:
        x: ``(n, c, h, w)``: booleans, integers or floats.
        where: the file or argument that they come from; messages begin with it.
        space: the space that they must have, of earlier data; by default it is determined from the values.

    Raises:
        DataError: on values outside the range of images.
    """
    if (space is None or space.support == "binary") and is_binary(x):
        return to_floats(x), Space("binary")
    if x.dtype.kind == "f":
        return _from_floats(x, where, space)
    return _from_integers(x, where)


def is_binary(x: NDArray[Any]) -> bool:
    """Whether all values are 0 or 1, and both occur, or the dtype is boolean."""
    return x.dtype.kind == "b" or bool(x.min() == 0 and x.max() == 1 and ((x == 0) | (x == 1)).all())


def to_floats(x: NDArray[Any]) -> Tensor:
    """Convert to torch's default dtype, without a copy if ``x`` has it and is in C order."""
    dtype = np.float64 if default_dtype() == torch.float64 else np.float32
    with np.errstate(over="ignore"):  # overflow gives infinity, which check_finite reports
        return as_tensor(np.ascontiguousarray(x, dtype=dtype))


def say_depth(where: str, peak: int) -> None:
    """Warn that grey levels up to ``peak`` in 16-bit integers were read with a smaller bit depth."""
    depth = bit_depth(peak)
    if depth < 16:
        warnings.warn(
            f"{where}: the greatest value is {peak}: read as {depth}-bit grey levels, divided by {2**depth - 1}",
            DataWarning,
            stacklevel=4,
        )


def _from_integers(x: NDArray[Any], where: str) -> tuple[Tensor, Space]:
    low, high = int(x.min()), int(x.max())
    if low < 0 or high > 65535:
        raise DataError(f"{where}: expected {x.dtype} images from 0 to 255 or 65535, got {low} to {high}")
    if high > 255 and x.dtype == np.uint16 and not (x % 257).any():
        x, high = x // 257, high // 257
    if high <= 255:
        return as_tensor(np.ascontiguousarray(x.astype(np.uint8, copy=False))), Space("unit", levels=256)
    say_depth(where, high)
    return to_floats(x / np.float32(2 ** bit_depth(high) - 1)), Space("unit")


def _from_floats(x: NDArray[Any], where: str, space: Space | None) -> tuple[Tensor, Space]:
    rows = to_floats(x)
    check_images(rows, where)
    if space is not None and not space.levels:
        return rows, Space("unit")
    tolerance = max(1e-6, float(np.finfo(x.dtype).eps) / 2)
    if space is not None:
        m = next((m for m in (space.levels - 1, space.levels) if m and _fits(m, rows, tolerance)), 0)
        if not m or float(rows.max()) * m > space.levels - 0.5:
            raise DataError(f"{where}: expected {space.levels} grey levels, k / {space.levels - 1}, got other values")
        return _multiples(rows, m), space
    found = _fraction(rows, tolerance)
    if found is None:
        return rows, Space("unit")
    m, greatest = found
    # Levels k / 2^b with k < 2^b: of b bits, divided by 2^b instead of 2^b - 1.
    levels = m if m & (m - 1) == 0 and greatest < m else m + 1
    if m != 255:
        warnings.warn(
            f"{where}: all values are multiples of 1/{m}: read as {levels} grey levels, to be dequantised",
            DataWarning,
            stacklevel=4,
        )
    return _multiples(rows, m), Space("unit", levels=levels)


def _multiples(x: Tensor, m: int) -> Tensor:
    return (x * m).round_().to(torch.uint8 if m <= 255 or float(x.max()) < 1 else torch.int16)


def _fits(m: int, x: Tensor, tolerance: float) -> bool:
    """Whether all values are k / m."""
    parts = (part.double() for part in x.flatten().split(_CHUNK))
    return all(bool(((v * m).round() / m - v).abs().max() <= tolerance) for v in parts)


def _fraction(x: Tensor, tolerance: float) -> tuple[int, int] | None:
    """The least m up to 256 so that all values are k / m, and the greatest k; ``None`` if there is none.

    255 is tried first, because most images have 8 bits, and is replaced by its divisor if few levels are used.
    """
    values = x.flatten()
    sample = values[:: max(1, len(values) // _SAMPLE)].unique()
    if len(sample) > _MOST_LEVELS + 1:
        return None
    for m in (255, *range(1, _MOST_LEVELS + 1)):
        if _fits(m, sample, tolerance) and _fits(m, values, tolerance):
            levels = torch.cat([(part * m).round().long().unique() for part in values.split(_CHUNK)]).unique()
            step = gcd(m, *levels.tolist()) if m == 255 and len(levels) > 2 else 1
            return m // step, int(levels.max()) // step
    return None


def check_on_disk(x: NDArray[Any], low: float, high: float, where: str) -> Space:
    """The space of a large array of images on disk, with values from ``low`` to ``high``."""
    if x.dtype == np.uint8:
        return Space("unit", levels=256)
    check_images(torch.tensor([low, high]).view(2, 1, 1, 1), where)
    first = torch.from_numpy(np.array(x[: max(1, _SAMPLE // x[:1].size)]))
    if _fits(255, first, 1e-6):
        warnings.warn(
            f"{where}: the values are multiples of 1/255: a density on them has no upper bound; save the grey levels "
            "as uint8 to have them dequantised",
            DataWarning,
            stacklevel=4,
        )
    return Space("unit")
