"""Hybrids: autoencoders trained with a critic, ``AAE`` and ``VAEGAN``, and a flow trained with one, ``FlowGAN``."""

from pyrogen.hybrid.aae import AAE, LabelMixture
from pyrogen.hybrid.flowgan import FlowGAN, FlowGenerator
from pyrogen.hybrid.vaegan import VAEGAN, FeatureCritic

__all__ = ["AAE", "VAEGAN", "FeatureCritic", "FlowGAN", "FlowGenerator", "LabelMixture"]
