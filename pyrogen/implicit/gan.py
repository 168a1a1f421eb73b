"""The generative adversarial network, with fully connected players.

Goodfellow et al., "Generative adversarial nets", NeurIPS 2014.
"""

from collections.abc import Sequence

from pyrogen.implicit.base import Adversarial
from pyrogen.implicit.mlp import MLPCritic, MLPGenerator


class GAN(Adversarial):
    """A fully connected generator and discriminator; the discriminator (``critic``) gives logits.

    Args:
        shape: the shape of one datum.
        latent: the dimension of z.
        hidden: the widths of the hidden layers of both players.
        unit: whether data lie in [0, 1] (images), or anywhere.
    """

    def __init__(
        self, shape: Sequence[int], latent: int = 64, hidden: Sequence[int] = (256, 256), unit: bool = True
    ) -> None:
        super().__init__(MLPGenerator(latent, shape, hidden, unit), MLPCritic(shape, hidden[::-1]), latent)
