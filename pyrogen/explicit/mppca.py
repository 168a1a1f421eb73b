"""A mixture of probabilistic principal component analysers, one mixture for each class if it is given labels.

    k ~ Categorical(w_y)    x | k, y ~ N(μ_yk, W_yk W_ykᵀ + σ_yk² I)    log p(x | y) = log Σ_k w_yk N(x; μ_yk, ...)

Tipping and Bishop, "Mixtures of probabilistic principal component analyzers", Neural Computation 1999.
"""

from collections.abc import Sequence
from math import log, pi, prod
from typing import Self

import torch
from torch import Tensor, nn

from pyrogen.data.checks import check_finite
from pyrogen.errors import ConfigError
from pyrogen.explicit.clusters import check_mixture, cluster, log_excess
from pyrogen.explicit.ppca import check_latent
from pyrogen.explicit.tractable_density import TractableDensity
from pyrogen.nn.conditions import Label
from pyrogen.nn.precision import model_dtype

MOST_ROWS = 50_000
"""The most data of a class, or of all without labels, from which the initial values are computed."""


class PPCAMixture(TractableDensity):
    """A mixture of Gaussians with low-rank plus isotropic covariances, exact in O(d k) for each component.

    Data are first standardised by ``mean`` and the one ``scale``; μ, W and σ are in these units. Each σ is at least
    ``min_std``, so that no component can collapse onto a datum.

    Args:
        shape: the shape of one datum.
        components: the number of components; given labels, of each class.
        latent: the rank k of W.
        min_std: the smallest σ.
        mean, scale: the standardisation, of ``shape`` and a number; 0 and 1 by default.
        condition: ``Label``: each class has its own components; ``None`` for one mixture of all data.

    Raises:
        ConfigError: unless ``1 <= latent < d``, ``components >= 1`` and ``min_std > 0``, or for a condition that is not
            a label.
    """

    probability = "density"
    mean: Tensor
    scale: Tensor
    condition: Label | None

    def __init__(
        self,
        shape: Sequence[int],
        components: int,
        latent: int,
        min_std: float = 0.03,
        mean: Tensor | None = None,
        scale: float = 1.0,
        condition: Label | None = None,
    ) -> None:
        super().__init__(condition)
        if condition is not None and not isinstance(condition, Label):
            raise ConfigError(f"a mixture of PPCA is given labels or nothing; got {type(condition).__name__}")
        self.shape, self.latent, self.min_std = tuple(shape), latent, min_std
        dims, groups = prod(self.shape), 1 if condition is None else condition.features
        check_latent(latent, dims)
        check_mixture(components, min_std)
        self.register_buffer("mean", torch.zeros(dims) if mean is None else mean.flatten().clone())
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.logits = nn.Parameter(torch.zeros(groups, components))
        self.loc = nn.Parameter(torch.randn(groups, components, dims))
        self.weight = nn.Parameter(torch.randn(groups, components, dims, latent) / latent**0.5)
        self.log_excess = nn.Parameter(torch.zeros(groups, components))

    @property
    def sigma(self) -> Tensor:
        """σ, ``(groups, components)``; there is one group without labels, and one for each class with them."""
        return self.min_std + self.log_excess.exp()

    def joint(self, x: Tensor) -> Tensor:
        """Log p(k, x | y) in nats for every y, ``(batch, groups, components)``.

        In standardised units, with ``M = σ² I + WᵀW = L Lᵀ``, the Woodbury identity gives
        ``σ² (x - μ)ᵀ C⁻¹ (x - μ) = |x - μ|² - |L⁻¹ Wᵀ (x - μ)|²`` and ``log |C| = (d - k) log σ² + log |M|``.
        """
        with torch.autocast(x.device.type, enabled=False):
            dims, k = self.weight.shape[2:]
            loc, weight = self.loc.flatten(0, 1), self.weight.flatten(0, 1)
            flat = (x.flatten(1) - self.mean) / self.scale
            variance = self.sigma.flatten().square()
            eye = torch.eye(k, dtype=variance.dtype, device=variance.device)
            lower = torch.linalg.cholesky(weight.mT @ weight + variance[:, None, None] * eye)
            projected = (flat @ weight.transpose(0, 1).flatten(1)).view(len(flat), *weight.shape[::2])
            projected = projected - torch.einsum("cd,cdk->ck", loc, weight)
            whitened = torch.linalg.solve_triangular(lower, projected.permute(1, 2, 0), upper=False)
            distance = flat.square().sum(1, keepdim=True) - 2 * flat @ loc.T + loc.square().sum(1)
            mahalanobis = (distance - whitened.square().sum(1).T) / variance
            log_det = (dims - k) * variance.log() + 2 * lower.diagonal(dim1=1, dim2=2).log().sum(1)
            log_det = log_det + 2 * dims * self.scale.log()
            log_prob = -0.5 * (mahalanobis + log_det + dims * log(2 * pi))
            return self.logits.log_softmax(1) + log_prob.view(len(flat), *self.logits.shape)

    def _log_prob(self, x: Tensor, y: Tensor | None) -> Tensor:
        groups = self.joint(x).logsumexp(2)
        return groups[:, 0] if y is None else groups.gather(1, y[:, None])[:, 0]

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """As ``TractableDensity.log_prob``; the marginal over labels costs as much as the density given one."""
        if y is None and self.condition is not None:
            return (self.joint(x).logsumexp(2) + self.condition.probs.log()).logsumexp(1)
        return super().log_prob(x, y)

    def responsibilities(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """p(k | x, y), ``(batch, components)``."""
        y = self.side(x.shape[0], y)
        rows = torch.arange(len(x), device=x.device)
        return self.joint(x)[rows, 0 if y is None else y].softmax(1)

    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        group = torch.zeros(n, dtype=torch.long, device=self.mean.device) if y is None else y
        k = torch.multinomial(self.logits.softmax(1)[group], 1)[:, 0]
        x = self.sigma[group, k, None] * torch.randn_like(self.mean.expand(n, -1))
        for g, c in torch.stack([group, k], 1).unique(dim=0).tolist():
            rows = ((group == g) & (k == c)).nonzero()[:, 0]
            z = torch.randn_like(self.mean.new_empty(len(rows), self.latent))
            x[rows] += self.loc[g, c] + z @ self.weight[g, c].T
        return (self.mean + self.scale * x).view(n, *self.shape)

    @classmethod
    def from_clusters(
        cls,
        x: Tensor,
        components: int,
        latent: int,
        min_std: float = 0.03,
        y: Tensor | None = None,
        condition: Label | None = None,
        seed: int = 0,
    ) -> Self:
        """PPCA in closed form in each cluster of k-means (scikit-learn), the initial value of training by SVI.

        σ² of a cluster is shrunk, with the weight of one datum, towards the mean residual variance of all clusters. A
        cluster of m < k + 2 data has rank m - 2, at least 0.

        Args:
            x: the data, ``(n, *shape)``.
            components: the number of clusters, in each class if there is a ``condition``.
            latent: the rank k.
            min_std: the smallest σ, relative to the standard deviation of the data.
            y: the labels, ``(n,)``, if there is a ``condition``.
            condition: ``Label``, or ``None`` for one mixture of all data.
            seed: of k-means.

        Raises:
            ConfigError: if a class has fewer different data than components, or labels are missing or not expected.
        """
        check_finite(x, "mixture of PPCA")
        if (y is None) != (condition is None):
            raise ConfigError("a mixture of PPCA needs labels y if it has a condition, and none otherwise")
        mean = x.mean(0)
        scale = float((x - mean).square().mean().sqrt().clamp_min(1e-6))
        model = cls(x.shape[1:], components, latent, min_std, mean, scale, condition).to(x.device, model_dtype(x))
        offset, groups = ((x - mean) / scale).flatten(1), model.logits.shape[0]
        member = torch.zeros(len(x), dtype=torch.long, device=x.device) if y is None else y
        clusters = []
        for g in range(groups):
            rows = offset[member == g][:MOST_ROWS]
            what = "a mixture of PPCA" if condition is None else f"a mixture of PPCA of class {g}"
            found = cluster(rows, components, seed, what)
            clusters += [rows[found == k] for k in range(components)]
        with torch.no_grad():
            model._set_clusters(clusters)
        return model

    def _set_clusters(self, clusters: Sequence[Tensor]) -> None:
        """Set all parameters by the data of each component, ``(m, d)``."""
        generator = torch.Generator().manual_seed(0)
        dims, sizes = len(self.mean), torch.tensor([len(c) for c in clusters])
        ranks = (sizes - 2).clamp(0, self.latent).tolist()
        spectra = [torch.linalg.svd(c - c.mean(0), full_matrices=False)[1:] for c in clusters]
        rest = torch.stack([s[q:].square().sum() for (s, _), q in zip(spectra, ranks, strict=True)]).cpu()
        free = dims - torch.tensor(ranks)
        variance = (rest / free + rest.sum() / (sizes * free).sum()) / (sizes + 1)
        self.logits.copy_((sizes + 1.0).log().view_as(self.logits))
        self.log_excess.copy_(log_excess(variance.sqrt(), self.min_std).view_as(self.log_excess))
        sigma, loc, weight = self.sigma.flatten(), self.loc.flatten(0, 1), self.weight.flatten(0, 1)
        for i, (data, (s, v), q) in enumerate(zip(clusters, spectra, ranks, strict=True)):
            loc[i] = data.mean(0)
            # directions without data start small, not at 0, where their gradient is 0
            weight[i] = 0.01 * sigma[i] * torch.randn(dims, self.latent, generator=generator).to(weight)
            excess = s[:q].square() / len(data) - sigma[i].square()
            weight[i, :, :q] = v[:q].T * excess.clamp_min(0).sqrt()
