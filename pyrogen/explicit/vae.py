"""The variational autoencoder.

    p(z) = N(0, I)      p(x | z) = likelihood(decoder(z))      q(z | x) = N(μ(x), diag σ²(x))

Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014. Prior and posterior family are arguments
of the model; the objective (β, free bits, importance weights) is the loss of the step.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.explicit.latent import LatentModel
from pyrogen.explicit.likelihoods import Likelihood
from pyrogen.explicit.posteriors import DiagonalNormal, FlowPosterior, Posterior
from pyrogen.explicit.priors import Prior, StandardNormal, VampPrior
from pyrogen.nn.networks import decoder_for, encoder_for


class VAE(LatentModel):
    """A variational autoencoder as a Pyro pair; it takes no labels (see ``CVAE``).

    Args:
        shape: the shape of one datum, ``(channel, height, width)`` or ``(d,)``.
        latent: the dimension of z.
        hidden: the widths of the encoder's hidden layers; the decoder mirrors them. For ``conv``, the
            first is the number of channels of the first convolution.
        likelihood: the observation model p(x | z).
        network: ``mlp`` or ``conv``.
        mean: the mean of the data, of ``shape``, at which the decoder is initialised.
        prior: p(z); ``StandardNormal(latent)`` by default, or a ``VampPrior``.
        posterior: the family of q(z | x); ``DiagonalNormal(latent)`` by default, or a ``FlowPosterior``.

    Raises:
        ConfigError: for an unknown network, ``conv`` on data that are not images of at least 8 × 8, or a ``VampPrior``
            with a ``FlowPosterior``, whose density is unavailable at other points than its own samples.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 32,
        hidden: Sequence[int] = (512, 512),
        likelihood: Likelihood | None = None,
        network: str = "mlp",
        mean: Tensor | None = None,
        prior: Prior | None = None,
        posterior: Posterior | None = None,
    ) -> None:
        super().__init__(shape, likelihood, mean)
        if isinstance(prior, VampPrior) and isinstance(posterior, FlowPosterior):
            raise ConfigError(
                "a VampPrior needs a posterior whose density is available at every point; got a FlowPosterior"
            )
        self.latent = latent
        self.p_z = prior or StandardNormal(latent)
        self.q_z = posterior or DiagonalNormal(latent)
        self.encoder = encoder_for(network, self.shape, self.q_z.outputs, hidden)
        self.decoder = decoder_for(network, latent, self.outputs, hidden)

    def prior_dist(self, n: int, y: Tensor | None = None) -> Any:
        """p(z) for ``n`` data."""
        return self.p_z(n, self.posterior_dist)

    def posterior_dist(self, x: Tensor, y: Tensor | None = None) -> Any:
        """q(z | x)."""
        return self.q_z(self.encoder(x))

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of q(z | x), or the image of the base's mean under a flow, ``(batch, latent)``."""
        self.side(x.shape[0], y)
        return self.q_z.point_estimate(self.encoder(x))
