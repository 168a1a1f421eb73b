"""Probabilistic principal component analysis: a Gaussian with low-rank plus isotropic covariance.

    z ~ N(0, I_k)    x | z ~ N(W z + μ, σ² I)    p(x) = N(x; μ, W Wᵀ + σ² I)

Tipping and Bishop, "Probabilistic principal component analysis", JRSS B 1999.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, Self

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.data.checks import check_finite
from pyrogen.errors import ConfigError, DataError
from pyrogen.explicit.tractable_density import TractableDensity
from pyrogen.nn.precision import model_dtype


def check_latent(latent: int, dims: int) -> None:
    """Raise ``ConfigError`` unless the number of components is at least 1 and below the dimension of the data."""
    if not 1 <= latent < dims:
        raise ConfigError(f"latent must be from 1 to {dims - 1}, below the dimension {dims} of x; got {latent}")


class PPCA(TractableDensity):
    """Probabilistic PCA with ``latent`` components; its likelihood costs O(d k²) instead of O(d³).

    Args:
        shape: the shape of one datum.
        latent: the number of components k.
        mean: the initial μ, of ``shape``; 0 by default.
        sigma: the initial σ, and the scale of the random initial W.

    Raises:
        ConfigError: unless ``1 <= latent < d``.
    """

    probability = "density"

    def __init__(self, shape: Sequence[int], latent: int, mean: Tensor | None = None, sigma: float = 1.0) -> None:
        super().__init__()
        self.shape, self.latent = tuple(shape), latent
        dims = prod(self.shape)
        check_latent(latent, dims)
        self.mean = nn.Parameter(torch.zeros(dims) if mean is None else mean.flatten().clone())
        self.weight = nn.Parameter(sigma * torch.randn(dims, latent) / latent**0.5)
        self.log_sigma = nn.Parameter(torch.tensor(float(sigma)).log())

    def distribution(self) -> Any:
        """p(x) over flattened data, event shape ``(d,)``."""
        variance = (2 * self.log_sigma).exp().expand(len(self.mean))
        return dist.LowRankMultivariateNormal(self.mean, self.weight, variance, validate_args=False)

    def _log_prob(self, x: Tensor, y: Tensor | None) -> Tensor:
        """By the Woodbury identity."""
        with torch.autocast(x.device.type, enabled=False):
            log_prob: Tensor = self.distribution().log_prob(x.flatten(1))
        return log_prob

    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        x: Tensor = self.distribution().sample((n,))
        return x.view(n, *self.shape)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """E[z | x] = (WᵀW + σ² I)⁻¹ Wᵀ (x - μ), ``(batch, latent)``."""
        inner = self.weight.T @ self.weight + (2 * self.log_sigma).exp() * torch.eye(self.latent).to(self.weight)
        return torch.linalg.solve(inner, self.weight.T @ (x.flatten(1) - self.mean).T).T

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """E[x | z] = W z + μ, ``(batch, *shape)``."""
        return (z @ self.weight.T + self.mean).view(z.shape[0], *self.shape)

    def observation_dist(self, z: Tensor, y: Tensor | None = None) -> Any:
        """p(x | z) = N(W z + μ, σ² I) of single values, batch shape ``(batch, *shape)``."""
        return dist.Normal(self.decode(z), self.log_sigma.exp(), validate_args=False)

    @classmethod
    def from_data(cls, x: Tensor, latent: int) -> Self:
        """Fit by maximum likelihood in closed form.

        σ² is the mean of the d - k smallest eigenvalues of the covariance, and ``W = U (Λ - σ² I)^½`` of the others.

        Args:
            x: the data, ``(n, *shape)``; sums are taken in float64.
            latent: k.

        Raises:
            ConfigError: unless ``1 <= latent < d``.
            DataError: if the data lie in a k-dimensional subspace, so that σ would be 0.
        """
        check_finite(x, "PPCA")
        flat = x.flatten(1).double()
        fitted = cls(x.shape[1:], latent).to(x.device, model_dtype(x))
        mean = flat.mean(0)
        centred = flat - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(flat))
        variance = values[:-latent].mean()
        if float(variance) <= 1e-12 * float(values[-1]) or x.shape[0] <= latent:
            raise DataError(
                f"{x.shape[0]} data in {flat.shape[1]} dimensions have no variance outside {latent} components"
            )
        with torch.no_grad():
            fitted.mean.copy_(mean)
            fitted.weight.copy_(vectors[:, -latent:] * (values[-latent:] - variance).clamp_min(0).sqrt())
            fitted.log_sigma.copy_(0.5 * variance.log())
        return fitted
