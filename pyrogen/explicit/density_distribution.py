"""A tractable density as a Pyro distribution."""

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, Protocol

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor


class Tractable(Protocol):
    """A model with an exact likelihood, for data of a fixed shape."""

    shape: tuple[int, ...]
    probability: str

    def log_prob(self, x: Tensor, y: Tensor | None = None, /) -> Tensor:
        """Exact log p(x) in nats, ``(batch,)``."""
        ...

    def sample(self, n: int, y: Tensor | None = None, /) -> Tensor:
        """Draw ``(n, *shape)``."""
        ...


class DensityDistribution(TorchDistribution):
    """p(x) of a tractable model, with the shape of one datum as event shape.

    Args:
        density: the model.
        batch_shape: the batch shape, of independent data.
        y: side information of a conditional density, with one row per datum along the last batch dimension.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, density: Tractable, batch_shape: Sequence[int] = (), y: Tensor | None = None) -> None:
        self.density, self.y = density, y
        super().__init__(torch.Size(batch_shape), torch.Size(density.shape), validate_args=False)

    @property
    def support(self) -> Any:
        """{0, 1} for a mass function, otherwise the real numbers."""
        values = constraints.boolean if self.density.probability == "mass" else constraints.real
        return constraints.independent(values, len(self.event_shape))

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "DensityDistribution":
        """The same distribution with another batch shape."""
        return DensityDistribution(self.density, batch_shape, self.y)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log p(x) in nats, ``(batch,)``."""
        return self.density.log_prob(x) if self.y is None else self.density.log_prob(x, self.y)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw independent data."""
        shape = self._extended_shape(torch.Size(sample_shape))
        batch = shape[: len(shape) - len(self.event_shape)]
        if self.y is None:
            return self.density.sample(prod(batch)).view(shape)
        y = self.y.repeat(prod(batch) // len(self.y), *(1,) * (self.y.ndim - 1))
        return self.density.sample(prod(batch), y).view(shape)
