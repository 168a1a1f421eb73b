"""A mixture of Gaussians, with the component summed out exactly.

k ~ Categorical(w)    x | k ~ N(m_k, S_k S_kᵀ)    log p(x) = log Σ_k w_k N(x; m_k, S_k S_kᵀ)

Given side information y, the weights and the means depend on it, w(y) and m_k(y), by a linear map of its features (for
the weights, in logarithms).
"""

import copy
import warnings
from collections.abc import Sequence
from math import log, pi, prod
from typing import Any, Self

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.data.checks import check_finite
from pyrogen.errors import ConfigError, unknown
from pyrogen.explicit.clusters import check_mixture, cluster, log_excess
from pyrogen.explicit.gaussian import COVARIANCES
from pyrogen.explicit.tractable_density import TractableDensity
from pyrogen.nn.conditions import Condition
from pyrogen.nn.precision import at_least_float32, model_dtype
from pyrogen.random import derive

KMEANS_ROWS = 20_000
"""The largest number of data that k-means and EM use."""


class GaussianMixture(TractableDensity):
    """A mixture of Gaussians with diagonal or full covariances.

    Data are first standardised by ``mean`` and ``scale``. The diagonal of each S_k is ``min_std + exp(a)``, so that no
    component can collapse onto a datum: the density is at most ``(2π)^(-d/2) min_std^-d`` in standardised units.

    Args:
        shape: the shape of one datum.
        components: the number of Gaussians.
        covariance: ``diagonal`` or ``full``.
        min_std: the smallest entry on the diagonal of S_k.
        mean, scale: the standardisation, each of ``shape``; 0 and 1 by default.
        condition: the kind of side information y; ``None`` for an unconditional mixture.
        equal_weights: whether w_k = 1 / components, in place of learned weights.

    Raises:
        ConfigError: for an unknown covariance, fewer than 1 component, or a ``min_std`` that is not positive.
    """

    probability = "density"
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        components: int,
        covariance: str = "diagonal",
        min_std: float = 1e-3,
        mean: Tensor | None = None,
        scale: Tensor | None = None,
        condition: Condition | None = None,
        equal_weights: bool = False,
    ) -> None:
        super().__init__(condition)
        if covariance not in COVARIANCES:
            raise unknown("covariance", covariance, COVARIANCES)
        check_mixture(components, min_std)
        self.shape, self.covariance, self.min_std = tuple(shape), covariance, min_std
        dims = prod(self.shape)
        self.register_buffer("mean", torch.zeros(dims) if mean is None else mean.flatten().clone())
        self.register_buffer("scale", torch.ones(dims) if scale is None else scale.flatten().clone())
        self.logits: Tensor
        if equal_weights:
            self.register_buffer("logits", torch.zeros(components))
        else:
            self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.randn(components, dims))
        self.log_diagonal = nn.Parameter(torch.zeros(components, dims))
        if covariance == "full":
            self.lower_triangle = nn.Parameter(torch.zeros(components, dims, dims))
        if condition is not None:
            self.condition_map = nn.Linear(condition.features, components * (1 + dims), bias=False)
            nn.init.zeros_(self.condition_map.weight)

    @property
    def diagonal(self) -> Tensor:
        """The diagonals of S in standardised units, ``(components, d)``."""
        return self.min_std + self.log_diagonal.exp()

    @property
    def factor(self) -> Tensor:
        """S in standardised units, lower triangular, ``(components, d, d)``."""
        return torch.tril(self.lower_triangle, -1) + torch.diag_embed(self.diagonal)

    def components(self, n: int, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """The log-weights, ``(n, components)``, and the means in standardised units, ``(n, components, d)``."""
        c = self.condition_features(y)
        if c is None:
            return self.logits.expand(n, -1), self.loc.expand(n, -1, -1)
        h = at_least_float32(self.condition_map(c)).view(n, len(self.logits), -1)
        return self.logits + h[..., 0], self.loc + h[..., 1:]

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(k, x | y) over a batch ``(batch, *shape)``, with k enumerated: train with ``TraceEnum_ELBO``."""
        pyro.module("mixture", self)
        logits, loc = self.components(x.shape[0], self.side(x.shape[0], y))
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
            pyro.sample("x", self.component(k, loc), obs=x.flatten(1))

    def component(self, k: Tensor, loc: Tensor) -> Any:
        """p(x | k) of flat data, given the component of each and the means of all, as ``components`` returns them."""
        mean = self.mean + self.scale * loc[torch.arange(len(loc), device=loc.device), k]
        if self.covariance == "diagonal":
            return dist.Normal(mean, (self.scale * self.diagonal)[k], validate_args=False).to_event(1)
        factor = (self.scale[:, None] * self.factor)[k]
        return dist.MultivariateNormal(mean, scale_tril=factor, validate_args=False)

    def marginal(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(x | y) over a batch with k summed out, a program for any ELBO."""
        super().model(x, y)

    def joint(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Log p(k, x | y) in nats, ``(batch, components)``."""
        logits, loc = self.components(x.shape[0], self.side(x.shape[0], y))
        offset = ((x.flatten(1) - self.mean) / self.scale)[:, None] - loc
        if self.covariance == "diagonal":
            whitened = offset / self.diagonal
        else:
            with torch.autocast(x.device.type, enabled=False):
                whitened = torch.linalg.solve_triangular(self.factor, offset.permute(1, 2, 0), upper=False).permute(
                    2, 0, 1
                )
        log_det = self.diagonal.log().sum(1) + self.scale.log().sum() + 0.5 * log(2 * pi) * len(self.scale)
        return logits.log_softmax(1) - log_det - 0.5 * whitened.square().sum(2)

    def _log_prob(self, x: Tensor, y: Tensor | None) -> Tensor:
        return self.joint(x, y).logsumexp(1)

    def responsibilities(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """p(k | x, y), ``(batch, components)``."""
        return self.joint(x, y).softmax(1)

    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        logits, loc = self.components(n, y)
        k, row = torch.multinomial(logits.softmax(1), 1)[:, 0], torch.arange(n, device=logits.device)
        noise = torch.randn(n, len(self.scale), device=k.device, dtype=self.scale.dtype)
        if self.covariance == "diagonal":
            offset = self.diagonal[k] * noise
        else:
            offset = torch.einsum("kij,nj->nki", self.factor, noise)[row, k]
        return (self.mean + self.scale * (loc[row, k] + offset)).view(n, *self.shape)

    @classmethod
    def from_clusters(
        cls,
        x: Tensor,
        components: int,
        covariance: str = "diagonal",
        min_std: float = 1e-3,
        seed: int = 0,
        condition: Condition | None = None,
    ) -> Self:
        """Initialise the weights, means and covariances from k-means clusters, for training by SVI.

        The covariance of each cluster is shrunk towards the pooled within-cluster variances, with the weight of d data
        (of one, for a diagonal covariance), so that it is regular even for a cluster of one datum.

        Args:
            x: the data, ``(n, *shape)``.
            components: the number of clusters.
            covariance: ``diagonal`` or ``full``.
            min_std: the smallest entry on the diagonal of each S.
            seed: of k-means.
            condition: the kind of side information y; the initial values do not depend on it.

        Raises:
            ConfigError: if there are more components than different data.
        """
        model, z = cls._standardised(x, components, covariance, min_std, condition)
        member = cluster(z, components, seed)
        loc = torch.stack([z[member == k].mean(0) for k in range(components)])
        offset = z - loc[member]
        within = offset.square().mean(0)
        prior = 1 if covariance == "diagonal" else z.shape[1]
        with torch.no_grad():
            model.loc.copy_(loc)
            model.logits.copy_((torch.bincount(member, minlength=components) + 1.0).log())
            for k in range(components):
                members = offset[member == k]
                if covariance == "diagonal":
                    diagonal = ((members.square().sum(0) + within) / (len(members) + 1)).sqrt()
                else:
                    shrunk = (members.T @ members + prior * torch.diag(within + min_std**2)) / (len(members) + prior)
                    factor = torch.linalg.cholesky(shrunk)
                    model.lower_triangle[k].copy_(factor.tril(-1))
                    diagonal = factor.diagonal()
                model.log_diagonal[k].copy_(log_excess(diagonal, min_std))
        return model

    @classmethod
    def from_em(
        cls,
        x: Tensor,
        components: int,
        covariance: str = "diagonal",
        min_std: float = 1e-3,
        equal_weights: bool = False,
        starts: int = 1,
        seed: int = 0,
    ) -> Self:
        """Fit by expectation maximisation from several k-means starts (scikit-learn); the most likely fit is taken.

        Args:
            x: the data, ``(n, *shape)``.
            components: the number of Gaussians.
            covariance: ``diagonal`` or ``full``.
            min_std: the smallest entry on the diagonal of each S.
            equal_weights: as for the class; EM learns weights, but fits are compared with equal ones in their place.
            starts: the number of starts.
            seed: of the starts.

        Raises:
            ConfigError: if there are more components than data.
        """
        model, z = cls._standardised(x, components, covariance, min_std, None, equal_weights)
        rows = x[: z.shape[0]]
        fits = []
        for i in range(starts):
            model._run_em(z, derive(seed, "em", i))
            with torch.no_grad():
                fits.append((float(model.log_prob(rows).mean()), copy.deepcopy(model)))
        return max(fits, key=lambda fit: fit[0])[1]

    @torch.no_grad()
    def _run_em(self, z: Tensor, seed: int) -> None:
        """Fit to standardised data ``(n, d)`` from one start."""
        from sklearn import mixture
        from sklearn.exceptions import ConvergenceWarning

        diagonal = self.covariance == "diagonal"
        options = {"covariance_type": "diag" if diagonal else "full", "reg_covar": self.min_std**2, "max_iter": 300}
        em = mixture.GaussianMixture(len(self.logits), random_state=seed % 2**32, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # what a start has reached is compared all the same
            em.fit(z.cpu().double().numpy())
        weights, loc, covariances = (torch.from_numpy(t) for t in (em.weights_, em.means_, em.covariances_))
        factor = torch.linalg.cholesky(torch.diag_embed(covariances) if diagonal else covariances)
        if isinstance(self.logits, nn.Parameter):
            self.logits.copy_(weights.log())
        self.loc.copy_(loc)
        self.log_diagonal.copy_(log_excess(factor.diagonal(dim1=1, dim2=2), self.min_std))
        if not diagonal:
            self.lower_triangle.copy_(factor.tril(-1))

    @classmethod
    def _standardised(
        cls,
        x: Tensor,
        components: int,
        covariance: str,
        min_std: float,
        condition: Condition | None,
        equal_weights: bool = False,
    ) -> tuple[Self, Tensor]:
        """A mixture with the standardisation of the data, and up to ``KMEANS_ROWS`` standardised data, ``(n, d)``."""
        check_finite(x, "mixture")
        if components > x.shape[0]:
            raise ConfigError(
                f"a mixture of {components} components needs at least as many data to initialise; got {x.shape[0]}"
            )
        flat = x.flatten(1)
        mean, scale = flat.mean(0), flat.std(0, correction=0).clamp_min(1e-6)
        model = cls(x.shape[1:], components, covariance, min_std, mean, scale, condition, equal_weights)
        model.to(x.device, model_dtype(x))
        return model, ((flat - mean) / scale)[: max(KMEANS_ROWS, components)]
