"""Observation models p(x | h): distributions of data whose parameters h are the output of a decoder.

Each declares the number of parameters per value of x (``outputs``), constructs the distribution, computes its mean, and
inverts its link function so that a decoder can be initialised at the mean of the data.
"""

from collections.abc import Sequence
from math import pi
from typing import Any, ClassVar, Literal, Protocol

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError, unknown

MOST_CONVOLVED = 64
"""The most grey levels of a discretised distribution to which noise can be added."""


class Likelihood(Protocol):
    """An observation model; ``h`` has shape ``(batch, outputs * channel, *rest)`` for data ``(channel, *rest)``."""

    outputs: int
    probability: Literal["mass", "density"]

    def __call__(self, h: Tensor, /) -> Any:
        """The distribution p(x | h) of independent values, its batch shape the shape of x."""
        ...

    def mean(self, h: Tensor, /) -> Tensor:
        """E[x | h], the shape of x."""
        ...

    def link(self, mean: Tensor, /) -> Tensor:
        """Parameters ``h`` of one datum for which E[x | h] is approximately ``mean``."""
        ...


class BernoulliLikelihood(nn.Module):
    """p(x | h) = Π σ(h)^x (1 - σ(h))^(1-x): a mass function on {0, 1}."""

    outputs = 1
    probability: Literal["mass", "density"] = "mass"

    def forward(self, h: Tensor) -> Any:
        """Bernoulli with logits h, without validation: data sets check on loading that x is binary."""
        return dist.Bernoulli(logits=h, validate_args=False)

    def mean(self, h: Tensor) -> Tensor:
        """σ(h)."""
        return torch.sigmoid(h)

    def link(self, mean: Tensor) -> Tensor:
        """logit(mean), clamped to about ±7."""
        return torch.logit(mean, eps=1e-3)


class GaussianLikelihood(nn.Module):
    """p(x | h) = Π N(x_i; m(h)_i, σ_i²), with σ fixed or learned, one for all values or one for each column.

    Args:
        sigma: the standard deviation in model coordinates, or ``"learned"``.
        unit: whether data lie in [0, 1]; then m(h) = σ(h), otherwise m(h) = h.
        columns: the number of columns of vectors, each with its own σ; 0 for one σ for all values.

    Raises:
        ConfigError: if ``sigma`` is neither positive nor ``"learned"``.
    """

    outputs = 1
    probability: Literal["mass", "density"] = "density"

    def __init__(self, sigma: float | str = "learned", unit: bool = True, columns: int = 0) -> None:
        super().__init__()
        if sigma != "learned" and not (isinstance(sigma, int | float) and sigma > 0):
            raise ConfigError(f"sigma must be a positive number or 'learned'; got {sigma!r}")
        learned = 0.0 if columns else -1.0  # columns are standardised
        start = torch.tensor(learned) if sigma == "learned" else torch.tensor(float(sigma)).log()
        log_sigma = start.repeat(columns) if columns else start
        self.log_sigma: Tensor
        if sigma == "learned":
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)
        self.unit = unit

    def forward(self, h: Tensor) -> Any:
        """Normal with mean m(h) and standard deviation σ."""
        return dist.Normal(self.mean(h), self.log_sigma.exp(), validate_args=False)

    def mean(self, h: Tensor) -> Tensor:
        """m(h): the sigmoid of h for data in [0, 1], otherwise h."""
        return torch.sigmoid(h) if self.unit else h

    def link(self, mean: Tensor) -> Tensor:
        """The inverse of ``mean``."""
        return torch.logit(mean, eps=1e-3) if self.unit else mean


class DiscretizedLogisticLikelihood(nn.Module):
    """A logistic distribution over grey levels, with a location and a scale for each value.

    Kingma et al., "Improved variational inference with inverse autoregressive flow", 2016.

    Args:
        levels: the number of grey levels L of the data, dequantised as ``(k + u) / L``.

    Raises:
        ConfigError: for fewer than 2 levels.
    """

    outputs = 2
    probability: Literal["mass", "density"] = "density"

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        if levels < 2:
            raise ConfigError(f"the discretised logistic needs data with at least 2 grey levels; got {levels}")
        self.levels = levels

    def forward(self, h: Tensor) -> Any:
        """Discretised logistic; location and log-scale are the two halves of h along dimension 1."""
        return DiscretizedLogistic(*self._parameters_of(h), self.levels)

    def mean(self, h: Tensor) -> Tensor:
        """The mean of the distribution."""
        return self(h).mean

    def _parameters_of(self, h: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale = h.chunk(2, 1)
        return loc + 0.5, (log_scale - 2).clamp(-7, 5).exp()

    def link(self, mean: Tensor) -> Tensor:
        """The location is ``mean``, the log-scale parameter 0."""
        return torch.cat([mean - 0.5, torch.zeros_like(mean)])


class DiscretizedLogistic(TorchDistribution):
    """A piecewise-constant density on [0, 1] with L bins, each with the mass of a logistic distribution.

        p(x) = L [F((k + 1) / L) - F(k / L)],  k = ⌊L x⌋,  F(v) = σ((v - loc) / scale),

    where the outer bins extend to ±∞. For data dequantised by ``(k + u) / L`` this is the mass of the grey level times
    L, so that its log-likelihood is comparable with that of continuous densities.

    Args:
        loc, scale: the parameters of the logistic distribution in units of [0, 1], of equal shape.
        levels: L.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.unit_interval

    def __init__(self, loc: Tensor, scale: Tensor, levels: int) -> None:
        self.loc, self.scale, self.levels = loc, scale, levels
        super().__init__(loc.shape, validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "DiscretizedLogistic":
        """The same distribution with another batch shape."""
        return DiscretizedLogistic(self.loc.expand(batch_shape), self.scale.expand(batch_shape), self.levels)

    @property
    def mean(self) -> Tensor:
        """E[min(max(X, 0), 1)] of the logistic variable X; the mean of the levels differs by at most half a level.

        It is the integral of 1 - F over [0, 1], ``s [softplus(m / s) - softplus((m - 1) / s)]``.
        """
        mean = self.scale * (F.softplus(self.loc / self.scale) - F.softplus((self.loc - 1) / self.scale))
        return mean.clamp(0, 1)  # against rounding

    @property
    def variance(self) -> Tensor:
        """An upper bound: that of the logistic variable, ``π² s² / 3``, or of any in [0, 1] of that mean.

        It is not below ``1 / (12 L²)``, that of a point in one bin.
        """
        mean = self.mean
        bound = torch.minimum(self.scale.square() * (pi**2 / 3), mean * (1 - mean))
        return bound.clamp_min(1 / (12 * self.levels**2))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log p(x) in nats, of the shape of x.

        Computed as σ(a) - σ(b) = σ(a) σ(-b) (1 - exp(b - a)), which is accurate in the tails.
        """
        k = (x * self.levels).floor().clamp(0, self.levels - 1)
        above = F.logsigmoid(((k + 1) / self.levels - self.loc) / self.scale)
        below = F.logsigmoid((self.loc - k / self.levels) / self.scale)
        inside = (-torch.expm1(-1 / (self.levels * self.scale))).clamp_min(1e-30).log()
        mass = torch.where(k == 0, above, torch.where(k == self.levels - 1, below, above + below + inside))
        return mass + torch.tensor(float(self.levels), dtype=mass.dtype).log()

    def convolved_log_prob(self, x: Tensor, noise: float) -> Tensor:
        """Log of the density of x + ε, ε ~ N(0, noise²), in nats, of the shape of x.

            p(x) = L Σ_k P(k) [Φ((x - k / L) / noise) - Φ((x - (k + 1) / L) / noise)]

        Raises:
            ConfigError: for more than 64 levels, of which the sum would be slow.
        """
        if self.levels > MOST_CONVOLVED:
            raise ConfigError(f"noise can be added to at most {MOST_CONVOLVED} grey levels; there are {self.levels}")
        edges = torch.linspace(0, 1, self.levels + 1, device=x.device, dtype=x.dtype)
        each = DiscretizedLogistic(self.loc[..., None], self.scale[..., None], self.levels)
        above, below = (x[..., None] - edges[:-1]) / noise, (x[..., None] - edges[1:]) / noise
        # Φ(above) - Φ(below), by the tail on their side of 0, where differences are accurate.
        right = above + below > 0
        log_high = torch.special.log_ndtr(torch.where(right, -below, above))
        log_low = torch.special.log_ndtr(torch.where(right, -above, below))
        log_bin = log_high + (-torch.expm1(log_low - log_high)).clamp_min(1e-30).log()
        return (each.log_prob((edges[1:] + edges[:-1]) / 2) + log_bin).logsumexp(-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw a level, and a uniform point in its bin."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            u = torch.rand(shape, device=self.loc.device, dtype=self.loc.dtype).clamp(1e-6, 1 - 1e-6)
            k = ((self.loc + self.scale * torch.logit(u)) * self.levels).floor().clamp(0, self.levels - 1)
            return ((k + torch.rand_like(k)) / self.levels).clamp_max(1 - 2**-24)


def make_likelihood(
    name: str, levels: int = 256, sigma: float | str = "learned", unit: bool = True, columns: int = 0
) -> Likelihood:
    """The likelihood called ``bernoulli``, ``gaussian`` or ``discretized_logistic``.

    Raises:
        ConfigError: for an unknown name, or as the constructor of the likelihood.
    """
    if name == "bernoulli":
        return BernoulliLikelihood()
    if name == "gaussian":
        return GaussianLikelihood(sigma, unit, columns)
    if name == "discretized_logistic":
        return DiscretizedLogisticLikelihood(levels)
    raise unknown("likelihood", name, ("bernoulli", "gaussian", "discretized_logistic"))
