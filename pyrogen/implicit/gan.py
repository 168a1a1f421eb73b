"""The fully connected generative adversarial network.

Goodfellow et al., "Generative adversarial nets", NeurIPS 2014; conditional on a class: Mirza and Osindero, "Conditional
generative adversarial nets", 2014.
"""

from collections.abc import Sequence

from pyrogen.implicit.base import Adversarial
from pyrogen.implicit.mlp import MLPCritic, MLPGenerator


class GAN(Adversarial):
    """A fully connected generator and discriminator; the discriminator (``critic``) returns logits.

    Args:
        shape: the shape of one datum.
        latent: the dimension of z.
        hidden: the widths of the generator's hidden layers; reversed for the critic.
        unit: whether data lie in [0, 1]; otherwise they are unbounded.
        classes: number of classes, on which both networks are conditioned; 0 for an unconditional model.
        n_binary: number of coordinates of z that are -1 or 1.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 64,
        hidden: Sequence[int] = (256, 256),
        unit: bool = True,
        classes: int = 0,
        n_binary: int = 0,
    ) -> None:
        generator = MLPGenerator(latent, shape, hidden, unit, classes=classes)
        critic = MLPCritic(shape, hidden[::-1], classes=classes)
        super().__init__(generator, critic, latent, classes, n_binary)
        self.shape = tuple(shape)
