"""The types of floating point that numbers are kept and summed in."""

import torch
from torch import Tensor


def at_least_float32(h: Tensor) -> Tensor:
    """What a network gave, in float32 at least: likelihoods are not summed in half precision, nor narrowed."""
    return h if h.dtype == torch.float64 else h.float()


def default_dtype() -> torch.dtype:
    """Torch's default type, float32 at least: the 256 levels of an image and a place within them need its digits."""
    return torch.promote_types(torch.get_default_dtype(), torch.float32)


def model_dtype(x: Tensor) -> torch.dtype:
    """The type of a model that is fitted to ``x``: that of the data, float32 at least."""
    return torch.promote_types(x.dtype, torch.float32) if x.is_floating_point() else default_dtype()
