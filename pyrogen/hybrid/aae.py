"""The adversarial autoencoder: a critic matches the distribution of the codes to the prior.

    x → z = encoder(x) → p(x | z) = likelihood(decoder(z)),    ∫ δ(z - encoder(x)) p(x) dx ≈ p(z)

The reconstruction maximises log p(x | encoder(x)); an adversarial loss on the codes replaces the KL divergence of the
VAE. Makhzani et al., "Adversarial autoencoders", 2015.
"""

from collections.abc import Sequence
from math import pi

import pyro
import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigError
from pyrogen.explicit.likelihoods import GaussianLikelihood, Likelihood
from pyrogen.implicit.mlp import MLPCritic
from pyrogen.nn.conditions import Conditional, Label
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.nn.networks import decoder_for, encoder_for
from pyrogen.nn.noise import NormalNoise
from pyrogen.nn.precision import at_least_float32


class LabelMixture(nn.Module):
    """p(z | y) = N(m_y, s² I), with the means m equally spaced on a circle in the first two coordinates.

    Args:
        latent: the dimension of z, at least 2.
        classes: number of classes, one mean each.
        radius: the radius of the circle.
        deviation: the standard deviation s.

    Raises:
        ConfigError: if ``latent`` is less than 2 or ``classes`` less than 1.
    """

    means: Tensor

    def __init__(self, latent: int, classes: int, radius: float = 4.0, deviation: float = 0.5) -> None:
        super().__init__()
        if latent < 2 or classes < 1:
            raise ConfigError(
                f"a mixture by label needs latent >= 2 and at least 1 class; got latent={latent}, classes={classes}"
            )
        angle = torch.arange(classes) * (2 * pi / classes)
        means = torch.zeros(classes, latent)
        means[:, :2] = radius * torch.stack([angle.cos(), angle.sin()], 1)
        self.register_buffer("means", means)
        self.deviation = deviation

    def forward(self, n: int, y: Tensor) -> Tensor:
        """Draw ``(n, latent)`` given labels ``(n,)``."""
        loc = self.means[y]
        return loc + self.deviation * torch.randn_like(loc)


class AAE(Conditional):
    """An autoencoder with a critic on its codes; it samples, but has neither a likelihood nor a bound on it.

    Args:
        shape: the shape of one datum.
        latent: the dimension of z.
        hidden: the widths of the encoder's hidden layers, mirrored by the decoder; for ``conv``, the first is the
            number of channels at the image side. The critic has two hidden layers of 256.
        likelihood: the observation model p(x | z) of the reconstruction.
        network: ``mlp`` or ``conv``.
        classes: number of classes, with a ``LabelMixture`` as prior and the label as input of the critic; 0 for the
            prior N(0, I).

    Raises:
        ConfigError: for an unknown network, or as ``LabelMixture``.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 8,
        hidden: Sequence[int] = (512, 512),
        likelihood: Likelihood | None = None,
        network: str = "mlp",
        classes: int = 0,
    ) -> None:
        super().__init__(Label(classes) if classes else None)
        self.shape, self.latent = tuple(shape), latent
        self.likelihood = likelihood or GaussianLikelihood()
        out = (self.likelihood.outputs * self.shape[0], *self.shape[1:])
        self.encoder = encoder_for(network, self.shape, latent, hidden)
        self.decoder = decoder_for(network, latent, out, hidden)
        self.critic = MLPCritic((latent,), (256, 256), classes=classes)
        self.prior = LabelMixture(latent, classes) if classes else NormalNoise(latent)

    def reconstruction(self, x: Tensor) -> None:
        """p(x | z = encoder(x)) over a batch, as a Pyro program for ``SVI`` with an empty guide."""
        pyro.module("encoder", self.encoder)
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            h = at_least_float32(self.decoder(self.encoder(x)))
            pyro.sample("x", self.likelihood(h).to_event(len(self.shape)), obs=x)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The codes, ``(batch, latent)``."""
        z: Tensor = self.encoder(x)
        return z

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """E[x | z], ``(batch, *shape)``."""
        return self.likelihood.mean(at_least_float32(self.decoder(z)))

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw z from the prior and decode it: ``(n, *shape)``.

        Args:
            n: the number of data.
            y: labels of ``n`` rows, or of one row for all, if the prior is a ``LabelMixture``; drawn from p(y) if not
                given.

        Raises:
            ConfigError: as ``Conditional.side``.
        """
        y = self.side(n, y, draw=True)
        with eval_mode(self):
            return self.decode(self.prior(n) if y is None else self.prior(n, y))
