"""Deterministic autoencoders: a code z = f(x) and a reconstruction g(z), without a density.

    minimise  E ‖x - g(f(x̃))‖² / d,    x̃ = x + σ ε

With σ > 0 it is the denoising autoencoder (Vincent et al., ICML 2008). Its linear case has a closed form, PCA.
They do not sample: what is measured is the reconstruction.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError, unknown
from pyrogen.nn.networks import decoder_for, encoder_for
from pyrogen.nn.pooling import PoolDown, PoolUp
from pyrogen.nn.precision import widened

POOLING = ("max", "average")
NETWORKS = ("mlp", "conv", *POOLING)


def check_bottleneck(latent: int, shape: Sequence[int]) -> None:
    """Raise ``ConfigError`` unless a code of ``latent`` numbers is one that data of ``shape`` must squeeze through."""
    if not 1 <= latent <= prod(shape):
        raise ConfigError(f"a bottleneck must have 1 to {prod(shape)} dimensions, as the data have; got {latent}")


class Autoencoder(nn.Module):
    """A deterministic autoencoder.

    Args:
        shape: the shape of one datum.
        latent: the length of the code.
        hidden: widths of the encoder's hidden layers, mirrored in the decoder; none makes it linear. For the
            convolutional networks the first is the width of the first convolution.
        network: ``mlp``; ``conv`` for strided convolutions; ``max`` or ``average`` for convolutions with pooling.
        noise: σ of the noise added to what is encoded while training.
        mean: the mean of the data: the decoder starts from it.
        unit: whether data lie in [0, 1]: a decoder that is not linear then ends in a sigmoid.

    Raises:
        ConfigError: for a code longer than a datum, negative noise, an unknown network, or a convolutional one on
            what is no image of at least 8 × 8.
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
            raise ConfigError(f"noise must not be negative; got {noise}")
        self.shape, self.latent, self.noise = tuple(shape), latent, noise
        self.squashed = unit and bool(hidden)
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
        self.offset = nn.Parameter(torch.logit(start, eps=1e-3) if self.squashed else start.clone())

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The code, ``(batch, latent)``."""
        z = self.encoder(x)
        return z[0] if isinstance(z, tuple) else z

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """What a code stands for, ``(batch, *shape)``."""
        return self._shown(self.decoder(z))

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """What is left of ``x (batch, *shape)`` after the bottleneck; maxima go back to their own places."""
        z = self.encoder(x)
        return self._shown(self.decoder(*z) if isinstance(z, tuple) else self.decoder(z))

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """The mean squared error per value, with noise on the way in while training."""
        seen = x + self.noise * torch.randn_like(x) if self.training and self.noise else x
        return {"loss": F.mse_loss(self.reconstruct(seen), x)}

    def _shown(self, h: Tensor) -> Tensor:
        h = widened(h) + self.offset
        return torch.sigmoid(h) if self.squashed else h
