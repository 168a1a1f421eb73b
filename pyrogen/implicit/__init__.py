"""Implicit models, which have samples but no likelihood: ``GAN``, ``DCGAN``, ``WGAN``, ``GMMN`` and others; no Pyro."""

from pyrogen.implicit.base import Adversarial
from pyrogen.implicit.dcgan import DCGAN, ConvCritic, ConvGenerator
from pyrogen.implicit.gan import GAN
from pyrogen.implicit.gmmn import GMMN, DecoderGenerator
from pyrogen.implicit.mlp import MLPCritic, MLPGenerator
from pyrogen.implicit.packing import Packed, packed_shape
from pyrogen.implicit.resnet import ResCritic, ResGAN, ResGenerator
from pyrogen.implicit.wgan import WGAN

__all__ = [
    "DCGAN",
    "GAN",
    "GMMN",
    "WGAN",
    "Adversarial",
    "ConvCritic",
    "ConvGenerator",
    "DecoderGenerator",
    "MLPCritic",
    "MLPGenerator",
    "Packed",
    "ResCritic",
    "ResGAN",
    "ResGenerator",
    "packed_shape",
]
