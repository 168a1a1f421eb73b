"""Implicit models, which have samples but no likelihood: ``GAN``, ``DCGAN``, ``WGAN``, ``ResGAN``; no Pyro."""

from pyrogen.implicit.base import Adversarial
from pyrogen.implicit.dcgan import DCGAN, ConvCritic, ConvGenerator
from pyrogen.implicit.gan import GAN
from pyrogen.implicit.mlp import MLPCritic, MLPGenerator
from pyrogen.implicit.packing import Packed, packed_shape
from pyrogen.implicit.resnet import ResCritic, ResGAN, ResGenerator
from pyrogen.implicit.wgan import WGAN

__all__ = [
    "DCGAN",
    "GAN",
    "WGAN",
    "Adversarial",
    "ConvCritic",
    "ConvGenerator",
    "MLPCritic",
    "MLPGenerator",
    "Packed",
    "ResCritic",
    "ResGAN",
    "ResGenerator",
    "packed_shape",
]
