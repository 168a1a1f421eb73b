"""Tensors that share the memory of arrays."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.errors import DataError


def as_tensor(x: NDArray[Any]) -> Tensor:
    """A tensor that shares the memory of an array, which may be read-only: stored rows are never written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(x)


def rows_as_they_are(x: NDArray[Any]) -> Tensor:
    """A tensor with the values and the dtype of an array; raise ``DataError`` if it does not hold numbers."""
    if x.dtype.kind not in "biufc":
        raise DataError(f"expected an array of numbers, got dtype {x.dtype}")
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    return as_tensor(np.ascontiguousarray(x) if any(step < 0 for step in x.strides) else x)
