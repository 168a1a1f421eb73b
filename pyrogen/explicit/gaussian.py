"""The Gaussian density.

    log p(x) = -½ (x - μ)ᵀ Σ⁻¹ (x - μ) - ½ log det(2π Σ)

Maximum likelihood by SVI with an empty guide, and in closed form: μ the mean of the data and Σ their
covariance (with divisor n).
"""

from collections.abc import Sequence
from math import prod
from typing import Any, Self

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.errors import DataError, unknown
from pyrogen.explicit.tractable_density import TractableDensity
from pyrogen.nn.precision import model_dtype

COVARIANCES = ("diagonal", "full")


class Gaussian(TractableDensity):
    """A Gaussian with diagonal or full covariance.

    The parameters are those of the whitening map, in which the log-likelihood is concave: with
    ``W = diag(exp d) + L`` lower triangular, ``e = W (x - μ₀) / s - b`` is standard normal. The
    constants ``μ₀, s`` standardise the data, so that one learning rate suits all pixels.

    Args:
        shape: the shape of one datum.
        covariance: ``diagonal`` or ``full``.
        mean, scale: the standardisation, each of ``shape``; 0 and 1 by default.

    Raises:
        ConfigError: for an unknown covariance.
    """

    probability = "density"
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        covariance: str = "diagonal",
        mean: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> None:
        super().__init__()
        if covariance not in COVARIANCES:
            raise unknown("covariance", covariance, COVARIANCES)
        self.shape, self.covariance = tuple(shape), covariance
        dims = prod(self.shape)
        self.register_buffer("mean", torch.zeros(dims) if mean is None else mean.flatten().clone())
        self.register_buffer("scale", torch.ones(dims) if scale is None else scale.flatten().clone())
        self.shift = nn.Parameter(torch.zeros(dims))
        self.log_diagonal = nn.Parameter(torch.zeros(dims))
        if covariance == "full":
            self.lower_triangle = nn.Parameter(torch.zeros(dims, dims))

    @property
    def whitening(self) -> Tensor:
        """W, lower triangular with a positive diagonal, ``(d, d)``."""
        return torch.tril(self.lower_triangle, -1) + torch.diag(self.log_diagonal.exp())

    def distribution(self) -> Any:
        """p(x) over flattened data, event shape ``(d,)``."""
        if self.covariance == "diagonal":
            std = (-self.log_diagonal).exp()
            loc = self.mean + self.scale * std * self.shift
            return dist.Normal(loc, self.scale * std, validate_args=False).to_event(1)
        eye = torch.eye(len(self.shift), device=self.shift.device, dtype=self.shift.dtype)
        with torch.autocast(self.shift.device.type, enabled=False):
            factor = torch.linalg.solve_triangular(self.whitening, eye, upper=False)
            loc = self.mean + self.scale * (factor @ self.shift)
        return dist.MultivariateNormal(loc, scale_tril=self.scale[:, None] * factor, validate_args=False)

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(x) over a batch ``(batch, *shape)``."""
        self.side(x.shape[0], y)
        pyro.module("gaussian", self)
        with pyro.plate("data", len(x)):
            pyro.sample("x", self.distribution(), obs=x.flatten(1))

    def _log_prob(self, x: Tensor, y: Tensor | None) -> Tensor:
        if self.covariance == "diagonal":
            log_prob: Tensor = self.distribution().log_prob(x.flatten(1))
            return log_prob
        e = (x.flatten(1) - self.mean) / self.scale @ self.whitening.T - self.shift
        log_det = self.log_diagonal.sum() - self.scale.log().sum()
        return log_det - 0.5 * (e.square() + torch.log(torch.tensor(2 * torch.pi, dtype=e.dtype))).sum(1)

    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        x: Tensor = self.distribution().sample((n,))
        return x.view(n, *self.shape)

    @classmethod
    def from_data(cls, x: Tensor, covariance: str = "diagonal", jitter: float = 0.0) -> Self:
        """The maximum-likelihood Gaussian in closed form.

        Args:
            x: the data, ``(n, *shape)``; sums are taken in float64.
            covariance: ``diagonal`` or ``full``.
            jitter: added to every variance.

        Raises:
            DataError: if the data are empty or not finite, or if their covariance plus ``jitter`` is singular.
        """
        flat = x.flatten(1).double()
        if not len(flat) or not bool(flat.isfinite().all()):
            broken = int((~flat.isfinite()).sum())
            raise DataError(f"expected finite data to fit; got shape {tuple(x.shape)}, {broken} values not finite")
        mean = flat.mean(0)
        centred = flat - mean
        scale = (centred.square().mean(0) + jitter).sqrt()
        if not bool((scale > 0).all()):
            raise DataError(f"{int((scale == 0).sum())} of {len(scale)} dimensions are constant: set jitter > 0")
        fitted = cls(x.shape[1:], covariance, mean, scale).to(x.device, model_dtype(x))
        if covariance == "full":
            z = centred / scale
            correlation = z.T @ z / z.shape[0]
            correlation.diagonal().fill_(1.0)
            factor, failed = torch.linalg.cholesky_ex(correlation)
            # An exactly singular matrix has tiny pivots instead of zeros because of rounding.
            if (
                failed
                or float(factor.diagonal().min()) ** 2 < 1e-12 * len(scale)
                or (z.shape[0] <= len(scale) and not jitter)
            ):
                raise DataError(
                    f"the covariance of {x.shape[0]} data in {len(scale)} dimensions is singular: set jitter > 0"
                )
            w = torch.linalg.solve_triangular(factor, torch.eye(len(scale), device=x.device).double(), upper=False)
            with torch.no_grad():
                fitted.lower_triangle.copy_(w.tril(-1))
                fitted.log_diagonal.copy_(w.diagonal().log())
        return fitted
