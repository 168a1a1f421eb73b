"""The floating-point dtypes in which numbers are stored and summed."""

import torch
from torch import Tensor


def at_least_float32(h: Tensor) -> Tensor:
    """Convert the output of a network to float32, or keep float64: likelihoods are not summed in half precision."""
    return h if h.dtype == torch.float64 else h.float()


def default_dtype() -> torch.dtype:
    """Torch's default dtype, at least float32: dequantised grey levels need its precision."""
    return torch.promote_types(torch.get_default_dtype(), torch.float32)


def model_dtype(x: Tensor) -> torch.dtype:
    """The dtype of a model fitted to ``x``: that of the data, at least float32."""
    return torch.promote_types(x.dtype, torch.float32) if x.is_floating_point() else default_dtype()
