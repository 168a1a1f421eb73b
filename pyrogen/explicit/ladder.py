"""The ladder variational autoencoder: several layers of latent variables, inferred from the top down.

    p(x, z) = p(x | z₁) Π_l p(z_l | z_{l+1}) p(z_L)            p(z_L) = N(0, I)
    q(z | x) = q(z_L | x) Π_l q(z_l | x, z_{l+1})

    q(z_l | x, z_{l+1}) ∝ N(z_l; μ̂_l(x), σ̂_l²(x)) p(z_l | z_{l+1}):   1/σ² = 1/σ̂² + 1/σ_p²,  μ = σ² (μ̂/σ̂² + μ_p/σ_p²)

The posterior of each layer is the precision-weighted product of a Gaussian computed from the data and the prior.
Sønderby et al., "Ladder variational autoencoders", NeurIPS 2016.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from pyrogen.errors import ConfigError
from pyrogen.explicit.latent import LatentModel
from pyrogen.explicit.likelihoods import Likelihood
from pyrogen.explicit.posteriors import normal
from pyrogen.explicit.priors import standard_normal
from pyrogen.nn.mlp import FlattenData, mlp
from pyrogen.nn.networks import decoder_for


class LadderVAE(LatentModel):
    """A hierarchical VAE as a Pyro pair, with sites ``z1`` (lowest layer) to ``zL`` (top layer).

    Args:
        shape: the shape of one datum.
        latents: the dimensions of z₁ … z_L, at least one.
        hidden: the width of each layer's network; one for each of ``latents``.
        likelihood: the observation model p(x | z₁).
        mean: the mean of the data, of ``shape``, at which the decoder is initialised.
        merge: whether q(z_l | x, z_{l+1}) includes the prior, as above; otherwise it is inferred from the data alone.

    Raises:
        ConfigError: unless ``latents`` and ``hidden`` have the same length of at least 1.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latents: Sequence[int] = (32, 16),
        hidden: Sequence[int] = (512, 256),
        likelihood: Likelihood | None = None,
        mean: Tensor | None = None,
        merge: bool = True,
    ) -> None:
        super().__init__(shape, likelihood, mean)
        if not latents or len(latents) != len(hidden):
            raise ConfigError(
                f"each latent variable needs a width: got latents {tuple(latents)}, hidden {tuple(hidden)}"
            )
        self.latents, self.merge = tuple(latents), merge
        inputs = (prod(self.shape), *hidden)
        self.flatten = FlattenData()
        self.up = nn.ModuleList(nn.Sequential(mlp(a, (b,), b), nn.SiLU()) for a, b in zip(inputs, hidden, strict=False))
        self.evidence = nn.ModuleList(nn.Linear(b, 2 * d) for b, d in zip(hidden, latents, strict=True))
        self.down = nn.ModuleList(mlp(latents[i + 1], (hidden[i],), 2 * d) for i, d in enumerate(latents[:-1]))
        self.decoder = decoder_for("mlp", latents[0], self.outputs, (hidden[0], hidden[0]))

    def prior_dist(self, n: int, y: Tensor | None = None) -> Any:
        """p(z_L) = N(0, I) for ``n`` data."""
        return standard_normal(self.offset.new_zeros(n, self.latents[-1]))

    def conditional_prior_dist(self, layer: int, above: Tensor) -> Any:
        """p(z_l | z_{l+1}), with ``layer`` counted from 0 at the lowest layer."""
        return normal(self.down[layer](above))

    def evidence_dists(self, x: Tensor) -> list[Any]:
        """The Gaussians N(μ̂_l(x), σ̂_l²(x)) computed from the data, from the lowest layer to the top."""
        h, found = self.flatten(x), []
        for up, evidence in zip(self.up, self.evidence, strict=True):
            h = up(h)
            found.append(normal(evidence(h)))
        return found

    def merged_posterior(self, evidence: Any, prior: Any) -> Any:
        """q(z_l | x, z_{l+1}): the normalised product of two normal distributions."""
        if not self.merge:
            return evidence
        a, b = evidence.variance.reciprocal(), prior.variance.reciprocal()
        variance = (a + b).reciprocal()
        loc = variance * (a * evidence.mean + b * prior.mean)
        return dist.Normal(loc, variance.sqrt(), validate_args=False).to_event(1)

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(x, z) over a batch ``(batch, *shape)``."""
        self.side(x.shape[0], y)
        pyro.module("model", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample(f"z{len(self.latents)}", self.prior_dist(x.shape[0]))
            for layer in reversed(range(len(self.latents) - 1)):
                z = pyro.sample(f"z{layer + 1}", self.conditional_prior_dist(layer, z))
            pyro.sample("x", self.observation_dist(z, None).to_event(len(self.shape)), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """q(z | x) over a batch, from the top layer down."""
        self.side(x.shape[0], y)
        pyro.module("model", self)
        *below, top = self.evidence_dists(x)
        with pyro.plate("data", len(x)):
            z = pyro.sample(f"z{len(self.latents)}", top)
            for layer in reversed(range(len(below))):
                z = pyro.sample(
                    f"z{layer + 1}", self.merged_posterior(below[layer], self.conditional_prior_dist(layer, z))
                )

    def posterior_dist(self, x: Tensor, y: Tensor | None = None) -> Any:
        """q(z₁ | x) with the layers above at their means."""
        *below, q = self.evidence_dists(x)
        for layer in reversed(range(len(below))):
            q = self.merged_posterior(below[layer], self.conditional_prior_dist(layer, q.mean))
        return q

    def draw_latent(self, n: int, y: Tensor | None) -> Tensor:
        """Draw z_L … z₁ from the prior and return z₁, ``(n, latents[0])``."""
        z: Tensor = self.prior_dist(n).sample()
        for layer in reversed(range(len(self.latents) - 1)):
            z = self.conditional_prior_dist(layer, z).sample()
        return z
