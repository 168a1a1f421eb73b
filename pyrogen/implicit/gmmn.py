"""The generative moment matching network: a generator trained by the MMD of its samples to the data.

    x = sigmoid(decoder(z) + b),  z ~ N(0, I)        min_G  MMD²(x, G(z))

under a mean of Gaussian kernels, without a critic. Li, Swersky and Zemel, "Generative moment matching networks", ICML
2015; Dziugaite, Roy and Ghahramani, "Training generative neural networks via maximum mean discrepancy optimization",
UAI 2015.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyrogen import ranks
from pyrogen.implicit.base import Adversarial
from pyrogen.nn.mmd import gaussian_kernel, unbiased_mmd2
from pyrogen.nn.networks import decoder_for
from pyrogen.nn.precision import at_least_float32

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0)
"""The bandwidths of the kernels, in units of the root mean square distance of two data."""


class DecoderGenerator(nn.Module):
    """The decoder of a fully connected VAE or autoencoder as a generator.

    Args:
        latent: the dimension of z.
        shape: the shape of one datum.
        hidden: the widths of the encoder's hidden layers, which are taken in the opposite order.
        unit: whether data lie in [0, 1]; then the output is a sigmoid, otherwise it is linear.
        mean: the mean of the data, which initialises the offset.
    """

    def __init__(
        self, latent: int, shape: Sequence[int], hidden: Sequence[int], unit: bool, mean: Tensor | None = None
    ) -> None:
        super().__init__()
        self.decoder, self.unit = decoder_for("mlp", latent, shape, hidden), unit
        start = torch.zeros(tuple(shape)) if mean is None else mean
        self.offset = nn.Parameter(torch.logit(start, eps=1e-3) if unit else start.clone())

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate, ``(batch, *shape)``; labels are ignored."""
        h = at_least_float32(self.decoder(z)) + self.offset
        return torch.sigmoid(h) if self.unit else h


class GMMN(Adversarial):
    """A generator that needs no critic, and may have one.

    Args:
        shape: the shape of one datum.
        latent: the dimension of z.
        hidden: widths of the generator's hidden layers in the opposite order, as for an encoder.
        unit: whether data lie in [0, 1].
        mean: the mean of the data, which initialises the generator's offset.
        distance: the root mean square distance of two data, the unit of the kernels' bandwidths.
        critic: for an adversarial loss in place of the MMD.
    """

    distance: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 10,
        hidden: Sequence[int] = (256, 256),
        unit: bool = True,
        mean: Tensor | None = None,
        distance: Tensor | None = None,
        critic: nn.Module | None = None,
    ) -> None:
        super().__init__(DecoderGenerator(latent, shape, hidden, unit, mean), critic or nn.Identity(), latent)
        self.shape = tuple(shape)
        self.register_buffer("distance", torch.tensor(1.0) if distance is None else distance.clone())

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """The unbiased estimate of MMD² between a batch and as many samples."""
        made, x = ranks.gather_rows(self.generator(self.prior(len(x)))), ranks.gather_rows(x)
        both = torch.cat([made, x]).flatten(1) / self.distance.to(x)
        return {"loss": unbiased_mmd2(gaussian_kernel(both, BANDWIDTHS), len(x))}
