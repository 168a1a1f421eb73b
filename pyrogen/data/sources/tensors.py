"""Tensors that share the memory of arrays."""

import warnings
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def as_tensor(x: NDArray[Any]) -> Tensor:
    """A tensor that shares the memory of an array, which may be read-only: stored rows are never written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(x)
