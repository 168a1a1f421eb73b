"""Base class of densities with an exact likelihood: p(x), or p(x | y) and its marginal over the labels y."""

from abc import ABC, abstractmethod

import pyro
import torch
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.explicit.density_distribution import DensityDistribution
from pyrogen.nn.conditions import Condition, Conditional, Label, PartialImage


class TractableDensity(Conditional, ABC):
    """A density or mass with an exact likelihood, conditional on side information y if it has a ``condition``.

    A subclass defines ``_log_prob`` and ``_draw``; they receive y with one row per datum, or ``None`` in an
    unconditional model.

    Args:
        condition: the kind of y, e.g. ``Label(10)`` or ``Attributes(5)``; ``None`` for an unconditional density.

    Raises:
        ConfigError: for a ``PartialImage``: conditional on a part of x, x has no density.
    """

    probability: str
    shape: tuple[int, ...]

    def __init__(self, condition: Condition | None = None) -> None:
        super().__init__(condition)
        if isinstance(condition, PartialImage):
            raise ConfigError(f"a {type(self).__name__} cannot be conditioned on a part of x: use a CVAE")

    @abstractmethod
    def _log_prob(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Log p(x | y) in nats, ``(batch,)``."""

    @abstractmethod
    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        """Draw ``(n, *shape)`` from p(x | y)."""

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(x | y), or p(x), over a batch ``(batch, *shape)``, as a Pyro program without latent variables."""
        pyro.module(type(self).__name__.lower(), self)
        if y is not None or not isinstance(self.condition, Label):  # else the labels are summed out
            y = self.side(x.shape[0], y)
        with pyro.plate("data", len(x)):
            pyro.sample("x", DensityDistribution(self, () if y is None else (x.shape[0],), y), obs=x)

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Exact log p(x | y) in nats, ``(batch,)``; without y the marginal log p(x) = log Σ_y p(y) p(x | y).

        Args:
            x: the data, ``(batch, *shape)``.
            y: side information of a conditional density, of 1 or ``batch`` rows.

        Raises:
            ConfigError: if y is given to an unconditional density, or missing when the condition is not a ``Label``.
        """
        if y is None and isinstance(self.condition, Label):
            labels = torch.arange(self.condition.features, device=x.device)
            joint = [self._log_prob(x, k.expand(x.shape[0])) + self.condition.log_prob(k) for k in labels]
            return torch.stack(joint).logsumexp(0)
        return self._log_prob(x, self.side(x.shape[0], y))

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw ``(n, *shape)``.

        Args:
            n: the number of data.
            y: side information of a conditional density, of ``n`` rows or of one row for all; labels are drawn from
                p(y) if not given.

        Raises:
            ConfigError: as ``Conditional.side``.
        """
        return self._draw(n, self.side(n, y, draw=True))
