"""The VAE/GAN: a VAE with its reconstruction error in the features of a critic, and an adversarial loss.

    p(z) = N(0, I)    p(f(x) | z) = N(f(decoder(z)), σ² I)    q(z | x) = N(μ(x), diag σ²(x))

with f the critic's features, divided by their standard deviations over the batch. Larsen et al., "Autoencoding beyond
pixels using a learned similarity metric", ICML 2016.
"""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.func import functional_call

from pyrogen import ranks
from pyrogen.explicit.priors import standard_normal
from pyrogen.implicit.dcgan import ConvGenerator, default_layers
from pyrogen.implicit.mlp import MLPGenerator
from pyrogen.nn.conditions import Conditional
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.nn.networks import encoder_for
from pyrogen.nn.noise import NormalNoise
from pyrogen.nn.precision import at_least_float32


class FeatureCritic(nn.Module):
    """``x (batch, *shape) -> score (batch,)``, a linear map of features.

    Args:
        body: ``body(2 x - 1) -> (batch, dims)``.
        dims: the number of features.
    """

    def __init__(self, body: nn.Module, dims: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Sequential(nn.LeakyReLU(0.2), nn.Linear(dims, 1))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score; labels are accepted and ignored."""
        score: Tensor = at_least_float32(self.head(self.body(2 * x - 1))).squeeze(1)
        return score

    def features(self, x: Tensor) -> Tensor:
        """f(x), ``(batch, dims)``."""
        return at_least_float32(self.body(2 * x - 1))


class VAEGAN(Conditional):
    """Encoder, generator (the decoder) and critic, for data in [0, 1].

    The Pyro pair bounds the likelihood of features, not of data. It is therefore a separate object, ``pair``, and the
    model itself has no likelihood.

    Args:
        shape: the shape of one datum.
        latent: the dimension of z.
        hidden: the widths of the hidden layers; for ``conv``, the first is the number of channels at the image side.
        network: ``mlp`` or ``conv``.
        features: the number of critic features in which the reconstruction error is measured.
        sigma: σ, the standard deviation of the features given z, relative to their standard deviation over the data.

    Raises:
        ConfigError: for an unknown network.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 32,
        hidden: Sequence[int] = (256, 256),
        network: str = "mlp",
        features: int = 64,
        sigma: float = 0.3,
    ) -> None:
        super().__init__()
        self.shape, self.latent = tuple(shape), latent

        def leaky() -> nn.Module:
            return nn.LeakyReLU(0.2)

        layers = default_layers(shape) if network == "conv" else 0
        self.encoder = encoder_for(network, shape, 2 * latent, hidden, layers=layers)
        self.generator: nn.Module
        if network == "mlp":
            self.generator = MLPGenerator(latent, shape, hidden[::-1], unit=True)
        else:
            self.generator = ConvGenerator(latent, shape, hidden[0])
        body = encoder_for(network, shape, features, hidden, leaky, layers)
        self.critic = FeatureCritic(body, features)
        self.pair = FeaturePair(latent, self.encoder, self.generator, self.critic, sigma)
        self.noise = NormalNoise(latent)

    def prior(self, n: int) -> Tensor:
        """Draw z ~ N(0, I), ``(n, latent)``."""
        return self.noise.sample(n)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The posterior mean μ(x), ``(batch, latent)``."""
        mean: Tensor = self.pair.posterior_dist(x).mean
        return mean

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The data of codes, ``(batch, *shape)``."""
        x: Tensor = self.generator(z)
        return x

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw z from the prior and decode it: ``(n, *shape)``."""
        self.side(n, y)
        with eval_mode(self):
            return self.decode(self.prior(n))


class FeaturePair(nn.Module):
    """The Pyro pair of a VAE/GAN: the features of x are observed, with those of the reconstruction as mean.

    The critic's weights are constants here: trained on this loss, its features would become equal for all data.

    Args:
        latent: the dimension of z.
        encoder: ``encoder(x) -> (batch, 2 latent)``, mean and log standard deviation.
        generator: ``generator(z) -> x``.
        critic: the critic, whose ``body`` computes the features.
        sigma: the standard deviation σ of a feature.
    """

    def __init__(
        self, latent: int, encoder: nn.Module, generator: nn.Module, critic: FeatureCritic, sigma: float
    ) -> None:
        super().__init__()
        self.sigma = sigma
        self.latent, self.encoder, self.generator = latent, encoder, generator
        self._critic = (critic,)  # in a tuple, so that it is not a submodule and not trained

    def posterior_dist(self, x: Tensor) -> dist.TorchDistribution:
        """q(z | x) = N(μ(x), diag σ²(x))."""
        mean, log_scale = at_least_float32(self.encoder(x)).chunk(2, -1)
        return dist.Normal(mean, log_scale.exp(), validate_args=False).to_event(1)

    def features(self, x: Tensor) -> Tensor:
        """The critic's features of x with constant weights, ``(batch, features)``."""
        network = self._critic[0].body
        f: Tensor = functional_call(network, {n: p.detach() for n, p in network.state_dict().items()}, (2 * x - 1,))
        return at_least_float32(f)

    def model(self, x: Tensor) -> None:
        """p(f(x), z) over a batch ``(batch, *shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", standard_normal(x.new_zeros(x.shape[0], self.latent)))
            real, made = self.features(x), self.features(self.generator(z))
            offset = real - ranks.batch_mean(real.mean(0))
            # In units of the features' own spread, or the loss's weight would grow with the critic.
            unit = ranks.batch_mean(offset.square().mean(0)).sqrt().clamp_min(1e-3)
            p_f = dist.Normal(made / unit, self.sigma, validate_args=False).to_event(1)
            pyro.sample("f", p_f, obs=real / unit)

    def guide(self, x: Tensor) -> None:
        """q(z | x) over a batch."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior_dist(x))
