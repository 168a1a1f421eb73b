"""Principal component analysis, the linear autoencoder in closed form."""

from collections.abc import Sequence
from math import prod
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import DataError
from pyrogen.nn.precision import model_dtype
from pyrogen.reconstruction.autoencoder import check_bottleneck
from pyrogen.summary import SummarisedModel


class PCA(SummarisedModel):
    """Principal components, the best linear autoencoder in closed form.

        z = W (x - μ),  x̂ = Wᵀ z + μ,    W the k leading eigenvectors of the covariance

    Args:
        shape: the shape of one datum.
        latent: k.

    Raises:
        ConfigError: for more components than dimensions.
    """

    def __init__(self, shape: Sequence[int], latent: int = 32) -> None:
        super().__init__()
        check_bottleneck(latent, shape)
        self.shape, self.latent = tuple(shape), latent
        self.mean = nn.Parameter(torch.zeros(prod(shape)), requires_grad=False)
        self.components = nn.Parameter(torch.eye(latent, prod(shape)), requires_grad=False)

    @classmethod
    @torch.no_grad()
    def from_data(cls, x: Tensor, latent: int = 32) -> Self:
        """Fit the components to ``x (n, *shape)``, in float64.

        Raises:
            ConfigError: for more components than dimensions.
            DataError: for empty or non-finite data.
        """
        fitted = cls(x.shape[1:], latent).to(x.device, model_dtype(x))
        flat = x.flatten(1).double()
        if not len(flat) or not bool(flat.isfinite().all()):
            raise DataError(f"expected finite data, at least one row; got shape {tuple(x.shape)}")
        mean = flat.mean(0)
        _, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean))  # in ascending order
        fitted.mean.copy_(mean)
        fitted.components.copy_(vectors[:, -latent:].flip(1).T)
        return fitted

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the component scores, ``(batch, latent)``, in order of decreasing variance."""
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map scores to points of the principal subspace, ``(batch, *shape)``."""
        return (z @ self.components + self.mean).unflatten(1, self.shape)

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Project ``x`` onto the principal subspace."""
        return self.decode(self.encode(x))

    def loss(self, x: Tensor) -> Tensor:
        """Return the mean squared error per dimension."""
        return F.mse_loss(self.reconstruct(x), x)
