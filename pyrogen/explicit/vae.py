"""The variational autoencoder.

    p(z) = N(0, I)      p(x | z) = likelihood(decoder(z))      q(z | x) = N(μ(x), diag σ²(x))

Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.errors import unknown
from pyrogen.explicit.likelihoods import BernoulliLikelihood, Likelihood
from pyrogen.nn.conv import ConvDown, ConvUp
from pyrogen.nn.mlp import mlp
from pyrogen.nn.modes import evaluating


class VAE(nn.Module):
    """A variational autoencoder as a Pyro pair.

    Args:
        shape: the shape of one datum, ``(channel, height, width)`` or ``(d,)``.
        latent: the dimension of z.
        hidden: the widths of the encoder's hidden layers; the decoder mirrors them. For ``conv``, the
            first width is that of the first convolution.
        likelihood: the observation model p(x | z).
        network: ``mlp`` or ``conv``.
        mean: the mean of the data, ``shape``: the decoder starts from it.

    Raises:
        ConfigError: for an unknown network, or ``conv`` on what is no image of at least 8 × 8.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 32,
        hidden: Sequence[int] = (512, 512),
        likelihood: Likelihood | None = None,
        network: str = "mlp",
        mean: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.latent = latent
        self.likelihood = likelihood or BernoulliLikelihood()
        out = (self.likelihood.outputs * self.shape[0], *self.shape[1:])
        if network == "mlp":
            dims = prod(self.shape)
            self.encoder: nn.Module = nn.Sequential(nn.Flatten(), mlp(dims, hidden, 2 * latent))
            self.decoder: nn.Module = nn.Sequential(mlp(latent, hidden[::-1], prod(out)), nn.Unflatten(1, out))
        elif network == "conv":
            self.encoder = ConvDown(self.shape, 2 * latent, hidden[0])
            self.decoder = ConvUp(latent, out, hidden[0])
        else:
            raise unknown("network", network, ("mlp", "conv"))
        start = torch.zeros(out) if mean is None else self.likelihood.link(mean)
        self.offset = nn.Parameter(start.clone())

    def prior(self, n: int) -> Any:
        """p(z) = N(0, I) for ``n`` data."""
        zero = self.offset.new_zeros(n, self.latent)
        return dist.Normal(zero, torch.ones_like(zero), validate_args=False).to_event(1)

    def posterior(self, x: Tensor) -> Any:
        """q(z | x) = N(μ(x), diag σ²(x))."""
        loc, log_scale = self.encoder(x).float().chunk(2, -1)
        return dist.Normal(loc, log_scale.exp(), validate_args=False).to_event(1)

    def hidden(self, z: Tensor) -> Tensor:
        """The decoder's output h, from which the likelihood makes p(x | z)."""
        h: Tensor = self.decoder(z).float() + self.offset
        return h

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(x, z) over a batch ``(batch, *shape)``; labels are accepted and ignored."""
        pyro.module("vae", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior(len(x)))
            pyro.sample("x", self.likelihood(self.hidden(z)).to_event(len(self.shape)), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """q(z | x) over a batch."""
        pyro.module("vae", self)
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x))

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The posterior mean μ(x), ``(batch, latent)``."""
        mean: Tensor = self.posterior(x).mean
        return mean

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """E[x | z], ``(batch, *shape)``."""
        return self.likelihood.mean(self.hidden(z))

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw z ~ p(z), then x ~ p(x | z): ``(n, *shape)``."""
        with evaluating(self):
            x: Tensor = self.likelihood(self.hidden(self.prior(n).sample())).sample()
            return x

    @torch.no_grad()
    def sample_mean(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw z ~ p(z) and give E[x | z]: the sample without the noise of the observation model."""
        with evaluating(self):
            return self.decode(self.prior(n).sample())
