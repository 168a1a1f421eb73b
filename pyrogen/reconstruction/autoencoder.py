"""Deterministic autoencoders: a code z = f(x) and a reconstruction g(z), without a density.

    minimise  E ‖x - g(f(x̃))‖² / d,    x̃ = x + σ ε

σ > 0 gives the denoising autoencoder (Vincent et al., ICML 2008). The linear case has a closed form, PCA. Autoencoders
do not sample and are evaluated by their reconstruction error.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError, unknown
from pyrogen.nn.networks import decoder_for, encoder_for
from pyrogen.nn.pooling import PoolDown, PoolUp
from pyrogen.nn.precision import at_least_float32
from pyrogen.summary import SummarisedModel

POOLING = ("max", "average")
NETWORKS = ("mlp", "conv", *POOLING)


def check_bottleneck(latent: int, shape: Sequence[int]) -> None:
    """Raise ``ConfigError`` unless the code has at least one dimension and at most those of the data."""
    if not 1 <= latent <= prod(shape):
        raise ConfigError(f"expected a bottleneck of 1 to {prod(shape)} dimensions, those of the data; got {latent}")


class Autoencoder(SummarisedModel):
    """A deterministic autoencoder.

    Args:
        shape: the shape of one datum.
        latent: the length of the code.
        hidden: widths of the encoder's hidden layers, reversed in the decoder; empty for a linear autoencoder. In
            convolutional networks the first is the width of the first convolution.
        network: ``mlp``; ``conv`` for strided convolutions; ``max`` or ``average`` for convolutions with pooling.
        noise: σ of the noise added to the encoder's input in training.
        mean: the mean of the data, which initialises the decoder's offset.
        unit: whether data are in [0, 1]: the output of a nonlinear decoder is then a sigmoid.

    Raises:
        ConfigError: for a code longer than a datum, negative noise, an unknown network, or a convolutional network on
            data other than images of at least 8 × 8.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 32,
        hidden: Sequence[int] = (512, 256),
        network: str = "mlp",
        noise: float = 0.0,
        mean: Tensor | None = None,
        unit: bool = False,
    ) -> None:
        super().__init__()
        check_bottleneck(latent, shape)
        if not noise >= 0:
            raise ConfigError(f"expected noise of at least 0; got {noise}")
        self.shape, self.latent, self.noise = tuple(shape), latent, noise
        self.sigmoid = unit and bool(hidden)
        if network not in NETWORKS:
            raise unknown("network", network, NETWORKS)
        self.encoder: nn.Module
        self.decoder: nn.Module
        if network in POOLING:
            self.encoder = PoolDown(shape, latent, hidden[0], network)
            self.decoder = PoolUp(latent, shape, hidden[0], network)
        else:
            self.encoder = encoder_for(network, shape, latent, hidden)
            self.decoder = decoder_for(network, latent, shape, hidden)
        start = torch.zeros(self.shape) if mean is None else mean
        self.offset = nn.Parameter(torch.logit(start, eps=1e-3) if self.sigmoid else start.clone())

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the code, ``(batch, latent)``."""
        z = self.encoder(x)
        return z[0] if isinstance(z, tuple) else z

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Decode a code to data, ``(batch, *shape)``."""
        return self._output(self.decoder(z))

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Reconstruct ``x (batch, *shape)``; with max pooling, maxima are unpooled to their original positions."""
        z = self.encoder(x)
        return self._output(self.decoder(*z) if isinstance(z, tuple) else self.decoder(z))

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """Return the mean squared error per dimension; in training, noise is added to the input."""
        noisy = x + self.noise * torch.randn_like(x) if self.training and self.noise else x
        return {"loss": F.mse_loss(self.reconstruct(noisy), x)}

    def _output(self, h: Tensor) -> Tensor:
        h = at_least_float32(h) + self.offset
        return torch.sigmoid(h) if self.sigmoid else h
