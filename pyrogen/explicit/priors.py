"""Priors p(z) of a variational autoencoder."""

from collections.abc import Callable
from math import log, pi
from typing import Any, ClassVar, Protocol, Self

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from pyrogen.errors import ConfigError


class Prior(Protocol):
    """A prior; some depend on ``posterior(x)``, the model's q(z | x)."""

    def __call__(self, n: int, posterior: Callable[[Tensor], Any], /) -> Any:
        """p(z) for ``n`` data: batch shape ``(n,)``, event shape ``(latent,)``."""
        ...


def standard_normal(zero: Tensor) -> Any:
    """N(0, I) with the shape, device and dtype of ``zero (n, latent)``: batch shape ``(n,)``."""
    return dist.Normal(zero, torch.ones_like(zero), validate_args=False).to_event(1)


class StandardNormal(nn.Module):
    """p(z) = N(0, I).

    Args:
        latent: the dimension of z.
    """

    zero: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(latent), persistent=False)

    def forward(self, n: int, posterior: Callable[[Tensor], Any]) -> Any:
        """N(0, I); its KL divergence from a normal posterior has a closed form."""
        return standard_normal(self.zero.expand(n, -1))


class VampPrior(nn.Module):
    """p(z) = (1/K) Σ_k q(z | u_k): the posterior averaged over K learned pseudo-inputs.

    Tomczak and Welling, "VAE with a VampPrior", AISTATS 2018.

    Args:
        inputs: the initial pseudo-inputs, ``(K, *shape)``; usually training data.

    Raises:
        ConfigError: for no pseudo-input.
    """

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        if not len(inputs):
            raise ConfigError("a VampPrior needs at least 1 pseudo-input")
        self.inputs = nn.Parameter(inputs.clone())

    def forward(self, n: int, posterior: Callable[[Tensor], Any]) -> Any:
        """The mixture; its KL divergence is estimated from samples."""
        components = posterior(self.inputs).base_dist
        return UniformMixture(components.loc, components.scale, n)


class UniformMixture(TorchDistribution):
    """(1/K) Σ_k N(m_k, diag s_k²), the same for each of ``n`` data.

    Its density is computed with two matrix products, as Σ_d ((z_d - m_d) / s_d)² = Σ_d z_d² s_d⁻² - 2 z_d m_d s_d⁻² +
    m_d² s_d⁻²; in float64, because of cancellation.

    Args:
        loc, scale: m and s, ``(K, d)``.
        n: the number of data.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, loc: Tensor, scale: Tensor, n: int) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(torch.Size((n,)), loc.shape[1:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same mixture with another batch shape."""
        return type(self)(self.loc, self.scale, torch.Size(batch_shape).numel())

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, n, d)``."""
        shape = torch.Size(sample_shape) + self.batch_shape
        k = torch.randint(len(self.loc), shape, device=self.loc.device)
        return torch.normal(self.loc[k], self.scale[k]).detach()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log p(z) in nats, ``(*sample_shape, n)``."""
        z, m, s = value.double(), self.loc.double(), self.scale.double()
        precision = s.square().reciprocal()
        square = z.square() @ precision.T - 2 * z @ (m * precision).T + (m.square() * precision).sum(1)
        log_density = -0.5 * square - s.log().sum(1) - 0.5 * log(2 * pi) * m.shape[1]
        return (log_density.logsumexp(-1) - log(len(m))).to(value.dtype)
