"""The conditional variational autoencoder.

    p(z | y) = N(μ(y), diag σ²(y))  or  N(0, I)
    p(x | z, y) = likelihood(decoder(z, y))      q(z | x, y) = N(μ(x, y), diag σ²(x, y))

Sohn, Lee and Yan, "Learning structured output representation using deep conditional generative
models", NeurIPS 2015. If y is a part of the image, the
likelihood is that of the unobserved part only.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.errors import unknown
from pyrogen.explicit.latent import LatentModel
from pyrogen.explicit.likelihoods import Likelihood
from pyrogen.explicit.posteriors import normal
from pyrogen.explicit.priors import standard_normal
from pyrogen.nn.conditions import Condition
from pyrogen.nn.mlp import FlattenData, mlp
from pyrogen.nn.networks import decoder_for

PRIORS = ("learned", "standard")


class CVAE(LatentModel):
    """A conditional variational autoencoder as a Pyro pair; y enters prior, encoder and decoder.

    Args:
        shape: the shape of one datum.
        condition: the kind of y, e.g. ``Label(10)``, ``Attributes(40)`` or ``PartialImage(shape)``.
        latent: the dimension of z.
        hidden: the widths of the encoder's hidden layers; the decoder mirrors them.
        likelihood: the observation model p(x | z, y).
        prior: ``learned`` for p(z | y) with its own network, ``standard`` for N(0, I).
        mean: the mean of the data, of ``shape``, at which the decoder is initialised.

    Raises:
        ConfigError: for an unknown prior.
    """

    def __init__(
        self,
        shape: Sequence[int],
        condition: Condition,
        latent: int = 32,
        hidden: Sequence[int] = (512, 512),
        likelihood: Likelihood | None = None,
        prior: str = "learned",
        mean: Tensor | None = None,
    ) -> None:
        super().__init__(shape, likelihood, mean, condition)
        if prior not in PRIORS:
            raise unknown("prior", prior, PRIORS)
        self.latent = latent
        dims, known = prod(self.shape), condition.features
        self.prior_network = mlp(known, hidden[-1:], 2 * latent) if prior == "learned" else None
        self.flatten = FlattenData() if hidden else nn.Flatten()  # without hidden layers the encoder is linear
        self.encoder = mlp(dims + known, hidden, 2 * latent)
        self.decoder = decoder_for("mlp", latent + known, self.outputs, hidden)

    def prior_dist(self, n: int, y: Tensor | None = None) -> Any:
        """p(z | y)."""
        if self.prior_network is None:
            return standard_normal(self.offset.new_zeros(n, self.latent))
        return normal(self.prior_network(self._features(y)))

    def posterior_dist(self, x: Tensor, y: Tensor | None = None) -> Any:
        """q(z | x, y)."""
        return normal(self.encoder(torch.cat([self.flatten(x), self._features(y)], 1)))

    def decoder_output(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The decoder's output h, the parameters of the likelihood p(x | z, y)."""
        return super().decoder_output(torch.cat([z, self._features(y)], 1))

    def observation_dist(self, z: Tensor, y: Tensor | None) -> Any:
        """p(x | z, y), with the values observed in y masked out."""
        unobserved = self._unobserved(y)
        p_x = super().observation_dist(z, y)
        return p_x if unobserved is None else p_x.mask(unobserved)

    def insert_observed(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Return y at observed positions and x elsewhere."""
        unobserved = self._unobserved(y)
        return x if unobserved is None or y is None else torch.where(unobserved, x, y)

    def _features(self, y: Tensor | None) -> Tensor:
        features = self.condition_features(y)
        assert features is not None  # there is a condition, and side() raises if y is missing
        return features

    def _unobserved(self, y: Tensor | None) -> Tensor | None:
        assert y is not None
        assert self.condition is not None
        return self.condition.unobserved(y)
