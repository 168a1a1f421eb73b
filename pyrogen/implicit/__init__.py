"""Models known through their samples alone, trained against a critic; plain torch."""

from pyrogen.implicit.dcgan import DCGAN, ConvCritic, ConvGenerator
from pyrogen.implicit.gan import GAN
from pyrogen.implicit.mlp import MLPCritic, MLPGenerator
from pyrogen.implicit.wgan import WGAN

__all__ = ["DCGAN", "GAN", "WGAN", "ConvCritic", "ConvGenerator", "MLPCritic", "MLPGenerator"]
