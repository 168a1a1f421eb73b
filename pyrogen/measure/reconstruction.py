"""The reconstruction error of an autoencoder."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyrogen.protocols import Score


@torch.no_grad()
def reconstruction_score(reconstruct: Callable[..., Tensor], x: Tensor, *rest: Tensor, rows: int = 1000) -> Score:
    """The mean squared error per dimension, ``E ‖x - x̂‖² / d``, in model coordinates; lower is better.

    For vectors it is in units of the variance of each column.

    Args:
        reconstruct: ``reconstruct(x, *rest) -> x̂``.
        x: the data, ``(n, *event)``.
        rest: side information with as many rows.
        rows: the rows per chunk.
    """
    parts = zip(*(t.split(rows) for t in (x, *rest)), strict=True)
    errors = torch.cat([(reconstruct(*part) - part[0]).square().flatten(1).mean(1) for part in parts]).double()
    stderr = float(errors.std() / len(errors) ** 0.5) if len(errors) > 1 else 0.0
    return Score(float(errors.mean()), stderr, "statistic", "mse", {"n": len(errors)}, values=errors)
