"""The Wasserstein GAN: a critic without a sigmoid, Lipschitz by weight clipping or a gradient penalty.

Arjovsky, Chintala and Bottou, ICML 2017; Gulrajani et al., NeurIPS 2017. The Lipschitz
constraint is an option of the step: ``AdversarialGame(clip=…)`` or ``penalty=GradientPenalty()``.
"""

from collections.abc import Sequence

from torch import nn

from pyrogen.errors import unknown
from pyrogen.implicit.base import Adversarial
from pyrogen.implicit.dcgan import ConvCritic, ConvGenerator
from pyrogen.implicit.mlp import MLPCritic, MLPGenerator
from pyrogen.nn.conv import dcgan_init


class WGAN(Adversarial):
    """A generator and a critic without BatchNorm, so that scores do not depend on the other rows of a batch.

    Args:
        shape: the shape of one datum.
        latent: the dimension of z.
        hidden: the widths of the hidden layers; for ``conv``, the first is the number of channels at the image side.
        network: ``mlp`` or ``conv``.
        unit: whether data lie in [0, 1]; otherwise they are unbounded.
        n_binary: number of coordinates of z that are -1 or 1.
        layers: number of convolutions of each network, for ``conv``; 0 for the default of ``dcgan.default_layers``.

    Raises:
        ConfigError: for an unknown network.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 64,
        hidden: Sequence[int] = (256, 256),
        network: str = "mlp",
        unit: bool = True,
        n_binary: int = 0,
        layers: int = 0,
    ) -> None:
        if network == "mlp":
            generator: nn.Module = MLPGenerator(latent, shape, hidden, unit)
            critic: nn.Module = MLPCritic(shape, hidden[::-1])
        elif network == "conv":
            generator = ConvGenerator(latent, shape, hidden[0], unit=unit, layers=layers).apply(dcgan_init)
            critic = ConvCritic(shape, hidden[0], norm="none", unit=unit, layers=layers)
        else:
            raise unknown("network", network, ("mlp", "conv"))
        super().__init__(generator, critic, latent, n_binary=n_binary)
        self.shape = tuple(shape)
