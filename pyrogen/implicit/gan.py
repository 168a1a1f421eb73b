"""The generative adversarial network, with fully connected players.

Goodfellow et al., "Generative adversarial nets", NeurIPS 2014; given a class: Mirza and Osindero, "Conditional
generative adversarial nets", 2014.
"""

from collections.abc import Sequence

from pyrogen.implicit.base import Adversarial, Scale
from pyrogen.implicit.mlp import MLPCritic, MLPGenerator


class GAN(Adversarial):
    """A fully connected generator and discriminator; the discriminator (``critic``) gives logits.

    Args:
        shape: the shape of one datum.
        latent: the dimension of z.
        hidden: the widths of the hidden layers of both players.
        unit: whether data lie in [0, 1] (images), or anywhere.
        classes: how many labels condition both players; 0 for an unconditional model.
        scale: the location and scale of real data.
        bits: how many coordinates of z are signs.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 64,
        hidden: Sequence[int] = (256, 256),
        unit: bool = True,
        classes: int = 0,
        scale: Scale | None = None,
        n_binary: int = 0,
    ) -> None:
        generator = MLPGenerator(latent, shape, hidden, unit, classes=classes, scale=scale)
        critic = MLPCritic(shape, hidden[::-1], classes=classes, scale=scale)
        super().__init__(generator, critic, latent, classes, n_binary)
