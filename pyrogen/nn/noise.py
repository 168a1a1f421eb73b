"""Standard normal noise, the base of flows and the prior of generators."""

from math import log, pi

import torch
from torch import Tensor, nn


class NormalNoise(nn.Module):
    """N(0, I) over vectors of ``dims``; draws have the device and the type of the module.

    Args:
        dims: the length of a vector.
    """

    zero: Tensor

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(dims), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        """Nats, ``(batch,)``."""
        return -0.5 * (z.square().sum(1) + len(self.zero) * log(2 * pi))

    def sample(self, n: int) -> Tensor:
        """Draw ``(n, dims)``."""
        return torch.randn(n, len(self.zero), device=self.zero.device, dtype=self.zero.dtype)

    def forward(self, n: int) -> Tensor:
        """The same as ``sample``."""
        return self.sample(n)
