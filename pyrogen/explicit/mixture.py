"""A mixture of Gaussians, the component summed out exactly.

k ~ Categorical(w)    x | k ~ N(m_k, S_k S_kᵀ)    log p(x) = log Σ_k w_k N(x; m_k, S_k S_kᵀ)
"""

from collections.abc import Sequence
from math import log, pi, prod
from typing import Self

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.data.checks import check_finite
from pyrogen.errors import ConfigError, unknown
from pyrogen.explicit.density_distribution import observe
from pyrogen.explicit.gaussian import COVARIANCES
from pyrogen.nn.precision import model_dtype

KMEANS_ROWS = 20_000
"""How many data are enough to find the first centres with."""


class GaussianMixture(nn.Module):
    """A mixture of Gaussians with diagonal or full covariances.

    Data are standardised by ``mean`` and ``scale`` first. The diagonal of each S_k is ``floor + exp(d)``, so that no
    component can collapse onto a datum: the density stays below ``(2π)^(-d/2) floor^-d`` in standardised units.

    Args:
        shape: the shape of one datum.
        components: how many Gaussians.
        covariance: ``diagonal`` or ``full``.
        floor: the smallest entry on the diagonal of S_k.
        mean, scale: the standardisation, each of ``shape``; 0 and 1 by default.

    Raises:
        ConfigError: for an unknown covariance, no components, or a floor that is not positive.
    """

    kind = "density"
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        components: int,
        covariance: str = "diagonal",
        floor: float = 1e-3,
        mean: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> None:
        super().__init__()
        if covariance not in COVARIANCES:
            raise unknown("covariance", covariance, COVARIANCES)
        if components < 1 or not floor > 0:
            raise ConfigError(f"a mixture needs components >= 1 and floor > 0; got {components} and {floor}")
        self.shape, self.covariance, self.floor = tuple(shape), covariance, floor
        dims = prod(self.shape)
        self.register_buffer("mean", torch.zeros(dims) if mean is None else mean.flatten().clone())
        self.register_buffer("scale", torch.ones(dims) if scale is None else scale.flatten().clone())
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.randn(components, dims))
        self.log_diagonal = nn.Parameter(torch.zeros(components, dims))
        if covariance == "full":
            self.below = nn.Parameter(torch.zeros(components, dims, dims))

    @property
    def diagonal(self) -> Tensor:
        """The diagonals of S in standardised units, ``(components, d)``."""
        return self.floor + self.log_diagonal.exp()

    @property
    def factor(self) -> Tensor:
        """S in standardised units, lower triangular, ``(components, d, d)``."""
        return torch.tril(self.below, -1) + torch.diag_embed(self.diagonal)

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(k, x) over a batch ``(batch, *shape)``, with k to be enumerated: train with ``TraceEnum_ELBO``."""
        pyro.module("mixture", self)
        loc = self.mean + self.scale * self.loc
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=self.logits), infer={"enumerate": "parallel"})
            if self.covariance == "diagonal":
                p_x = dist.Normal(loc[k], (self.scale * self.diagonal)[k], validate_args=False).to_event(1)
            else:
                factor = (self.scale[:, None] * self.factor)[k]
                p_x = dist.MultivariateNormal(loc[k], scale_tril=factor, validate_args=False)
            pyro.sample("x", p_x, obs=x.flatten(1))

    def marginal(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(x) over a batch, k summed out: the same likelihood, for any ELBO."""
        observe(self, x)

    def joint(self, x: Tensor) -> Tensor:
        """Log p(k, x) in nats, ``(batch, components)``."""
        off = ((x.flatten(1) - self.mean) / self.scale)[:, None] - self.loc
        if self.covariance == "diagonal":
            white = off / self.diagonal
        else:
            with torch.autocast(x.device.type, enabled=False):
                white = torch.linalg.solve_triangular(self.factor, off.permute(1, 2, 0), upper=False).permute(2, 0, 1)
        log_det = self.diagonal.log().sum(1) + self.scale.log().sum() + 0.5 * log(2 * pi) * len(self.scale)
        return self.logits.log_softmax(0) - log_det - 0.5 * white.square().sum(2)

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Exact log p(x) in nats, ``(batch,)``."""
        return self.joint(x).logsumexp(1)

    def responsibilities(self, x: Tensor) -> Tensor:
        """p(k | x), ``(batch, components)``."""
        return self.joint(x).softmax(1)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw ``(n, *shape)``."""
        k = torch.multinomial(self.logits.softmax(0), n, replacement=True)
        noise = torch.randn(n, len(self.scale), device=k.device, dtype=self.scale.dtype)
        if self.covariance == "diagonal":
            off = self.diagonal[k] * noise
        else:
            off = torch.einsum("kij,nj->nki", self.factor, noise)[torch.arange(n), k]
        return (self.mean + self.scale * (self.loc[k] + off)).view(n, *self.shape)

    @classmethod
    def from_clusters(
        cls, x: Tensor, components: int, covariance: str = "diagonal", floor: float = 1e-3, seed: int = 0
    ) -> Self:
        """A start for SVI: weights, centres and covariances of k-means clusters.

        The covariance of each cluster is drawn towards the variances within all of them, as though it had d more
        data (one more, for a diagonal), so that a cluster of one datum has one too.

        Args:
            x: the data, ``(n, *shape)``.
            components: how many clusters.
            covariance: ``diagonal`` or ``full``.
            floor: the smallest entry on the diagonal of each S.
            seed: of k-means.

        Raises:
            ConfigError: if there are more components than data.
        """
        from sklearn.cluster import KMeans

        check_finite(x, "mixture")
        if components > len(x):
            raise ConfigError(f"a mixture of {components} components needs as many data to start at; got {len(x)}")
        flat = x.flatten(1)
        mean, scale = flat.mean(0), flat.std(0, correction=0).clamp_min(1e-6)
        model = cls(x.shape[1:], components, covariance, floor, mean, scale).to(x.device, model_dtype(x))
        z = ((flat - mean) / scale)[: max(KMEANS_ROWS, components)]
        kmeans = KMeans(components, n_init=1, random_state=seed).fit(z.cpu().double().numpy())
        member = torch.from_numpy(kmeans.labels_).long().to(x.device)
        loc = torch.stack([z[member == k].mean(0) for k in range(components)])
        off = z - loc[member]
        within = off.square().mean(0)
        prior = 1 if covariance == "diagonal" else len(mean)
        with torch.no_grad():
            model.loc.copy_(loc)
            model.logits.copy_((torch.bincount(member, minlength=components) + 1.0).log())
            for k in range(components):
                mine = off[member == k]
                if covariance == "diagonal":
                    diagonal = ((mine.square().sum(0) + within) / (len(mine) + 1)).sqrt()
                else:
                    mixed = (mine.T @ mine + prior * torch.diag(within + floor**2)) / (len(mine) + prior)
                    factor = torch.linalg.cholesky(mixed)
                    model.below[k].copy_(factor.tril(-1))
                    diagonal = factor.diagonal()
                model.log_diagonal[k].copy_((diagonal - floor).clamp_min(0.1 * floor).log())
        return model
