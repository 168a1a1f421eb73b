"""Observation models p(x | h): how the output of a decoder becomes a distribution over data.

Each says how many numbers it wants per value of x (``outputs``), makes the distribution, gives its mean,
and inverts its link so that a decoder can start at the mean of the data.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError, unknown


class Likelihood(Protocol):
    """An observation model; ``h`` has shape ``(batch, outputs * channel, *rest)`` for data ``(channel, *rest)``."""

    outputs: int
    probability: Literal["mass", "density"]

    def __call__(self, h: Tensor, /) -> Any:
        """The distribution p(x | h) of independent values, ``batch_shape`` that of x."""
        ...

    def mean(self, h: Tensor, /) -> Tensor:
        """E[x | h], the shape of x."""
        ...

    def link(self, mean: Tensor, /) -> Tensor:
        """An ``h`` for one datum under which E[x] is about ``mean``."""
        ...


class BernoulliLikelihood(nn.Module):
    """p(x | h) = Π σ(h)^x (1 - σ(h))^(1-x): a mass on {0, 1}."""

    outputs = 1
    probability: Literal["mass", "density"] = "mass"

    def forward(self, h: Tensor) -> Any:
        """Bernoulli with logits h. The data layer has checked that x is binary, so Pyro need not again."""
        return dist.Bernoulli(logits=h, validate_args=False)

    def mean(self, h: Tensor) -> Tensor:
        """σ(h)."""
        return torch.sigmoid(h)

    def link(self, mean: Tensor) -> Tensor:
        """logit(mean), kept within ±7."""
        return torch.logit(mean, eps=1e-3)


class GaussianLikelihood(nn.Module):
    """p(x | h) = Π N(x; m(h), σ²), with one σ for all values, fixed or learned.

    Args:
        sigma: the standard deviation, or ``"learned"``.
        unit: whether data lie in [0, 1]; then m(h) = σ(h), else m(h) = h.
    """

    outputs = 1
    probability: Literal["mass", "density"] = "density"

    def __init__(self, sigma: float | str = "learned", unit: bool = True) -> None:
        super().__init__()
        if sigma != "learned" and not (isinstance(sigma, int | float) and sigma > 0):
            raise ConfigError(f"sigma must be a positive number or 'learned'; got {sigma!r}")
        log_sigma = torch.tensor(-1.0) if sigma == "learned" else torch.tensor(float(sigma)).log()
        self.log_sigma: Tensor
        if sigma == "learned":
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)
        self.unit = unit

    def forward(self, h: Tensor) -> Any:
        """Normal around the mean."""
        return dist.Normal(self.mean(h), self.log_sigma.exp(), validate_args=False)

    def mean(self, h: Tensor) -> Tensor:
        """σ(h) on [0, 1], else h."""
        return torch.sigmoid(h) if self.unit else h

    def link(self, mean: Tensor) -> Tensor:
        """The inverse of ``mean``."""
        return torch.logit(mean, eps=1e-3) if self.unit else mean


class DiscretizedLogisticLikelihood(nn.Module):
    """A logistic distribution over grey levels, with a location and a scale for each value.

    Kingma et al., "Improved variational inference with inverse autoregressive flow", 2016.

    Args:
        levels: the number of grey levels L of the data, dequantised as ``(k + u) / L``.
    """

    outputs = 2
    probability: Literal["mass", "density"] = "density"

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        if levels < 2:
            raise ConfigError(f"the discretised logistic needs data with at least 2 grey levels; got {levels}")
        self.levels = levels

    def forward(self, h: Tensor) -> Any:
        """Location and log-scale are the two halves of h along its first dimension after the batch."""
        return DiscretizedLogistic(*self._parameters_of(h), self.levels)

    def mean(self, h: Tensor) -> Tensor:
        """E[min(max(X, 0), 1)] of the logistic X, which is that of its levels to within half a level.

        The integral of 1 - F over [0, 1]: ``s [softplus(m / s) - softplus((m - 1) / s)]``.
        """
        loc, scale = self._parameters_of(h)
        return scale * (F.softplus(loc / scale) - F.softplus((loc - 1) / scale))

    def _parameters_of(self, h: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale = h.chunk(2, 1)
        return loc + 0.5, (log_scale - 2).clamp(-7, 5).exp()

    def link(self, mean: Tensor) -> Tensor:
        """The location is the mean."""
        return torch.cat([mean - 0.5, torch.zeros_like(mean)])


class DiscretizedLogistic(TorchDistribution):
    """The density on [0, 1] that is constant on each of L bins and gives bin k a logistic's mass there.

        p(x) = L [F((k + 1) / L) - F(k / L)],  k = ⌊L x⌋,  F(v) = σ((v - loc) / scale),

    where the outer bins reach to infinity. For data dequantised by ``(k + u) / L`` this is the mass of the
    grey level in the coordinates of a continuous model, so the two compare.

    Args:
        loc, scale: the logistic's parameters in units of [0, 1], of one shape.
        levels: L.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.unit_interval

    def __init__(self, loc: Tensor, scale: Tensor, levels: int) -> None:
        self.loc, self.scale, self.levels = loc, scale, levels
        super().__init__(loc.shape, validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "DiscretizedLogistic":
        """The same distribution over a larger batch."""
        return DiscretizedLogistic(self.loc.expand(batch_shape), self.scale.expand(batch_shape), self.levels)

    def log_prob(self, x: Tensor) -> Tensor:
        """Nats, the shape of x.

        By σ(a) - σ(b) = σ(a) σ(-b) (1 - exp(b - a)), which loses nothing in the tails.
        """
        k = (x * self.levels).floor().clamp(0, self.levels - 1)
        above = F.logsigmoid(((k + 1) / self.levels - self.loc) / self.scale)
        below = F.logsigmoid((self.loc - k / self.levels) / self.scale)
        inside = (-torch.expm1(-1 / (self.levels * self.scale))).clamp_min(1e-30).log()
        mass = torch.where(k == 0, above, torch.where(k == self.levels - 1, below, above + below + inside))
        return mass + torch.tensor(float(self.levels), dtype=mass.dtype).log()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw a level, and a place within its bin."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            u = torch.rand(shape, device=self.loc.device, dtype=self.loc.dtype).clamp(1e-6, 1 - 1e-6)
            k = ((self.loc + self.scale * torch.logit(u)) * self.levels).floor().clamp(0, self.levels - 1)
            return ((k + torch.rand_like(k)) / self.levels).clamp_max(1 - 2**-24)


def make_likelihood(name: str, levels: int = 256, sigma: float | str = "learned", unit: bool = True) -> Likelihood:
    """The likelihood called ``bernoulli``, ``gaussian`` or ``discretized_logistic``.

    Raises:
        ConfigError: if there is none of that name.
    """
    if name == "bernoulli":
        return BernoulliLikelihood()
    if name == "gaussian":
        return GaussianLikelihood(sigma, unit)
    if name == "discretized_logistic":
        return DiscretizedLogisticLikelihood(levels)
    raise unknown("likelihood", name, ("bernoulli", "gaussian", "discretized_logistic"))
