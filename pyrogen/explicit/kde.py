"""Kernel-density estimation: a Gaussian around every datum.

    p(x) = (1/m) Σ_j N(x; x_j, h² I)

Parzen, "On estimation of a probability density function and mode", 1962. As a model it is a
density with an exact likelihood. (Fitted to another model's samples, as in ``pyrogen.measure.kde``, it estimates that
model's likelihood.)
"""

from typing import Self

import torch
from torch import Tensor

from pyrogen.data.checks import check_finite
from pyrogen.errors import ConfigError
from pyrogen.explicit.tractable_density import TractableDensity
from pyrogen.nn.kernel_density import best_bandwidth, log_density
from pyrogen.nn.precision import model_dtype


class KernelDensity(TractableDensity):
    """A kernel-density estimate; the data are its only parameters.

    Args:
        points: the data x_j, ``(m, *shape)``.
        bandwidth: h, in the unit of the data.

    Raises:
        ConfigError: if the bandwidth is not positive.
    """

    probability = "density"
    points: Tensor
    bandwidth: Tensor

    def __init__(self, points: Tensor, bandwidth: float = 1.0) -> None:
        super().__init__()
        if not bandwidth > 0:
            raise ConfigError(f"the bandwidth must be positive; got {bandwidth}")
        check_finite(points, "kernel density")
        self.shape = tuple(points.shape[1:])
        self.register_buffer("points", points.clone())
        self.register_buffer("bandwidth", torch.tensor(float(bandwidth), dtype=model_dtype(points)))

    def _log_prob(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Costs O(m d) per datum."""
        return log_density(x, self.points, self.bandwidth)

    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        """Draw one of the data and add noise of standard deviation h."""
        chosen = self.points[torch.randint(len(self.points), (n,), device=self.points.device)]
        return chosen + self.bandwidth * torch.randn_like(chosen)

    @classmethod
    def from_data(cls, x: Tensor, valid: Tensor) -> Self:
        """The estimate with points ``x`` and the bandwidth that maximises the likelihood of ``valid``."""
        return cls(x, best_bandwidth(valid, x))
