"""Hybrids, autoencoders trained with a critic: ``AAE`` and ``VAEGAN``."""

from pyrogen.hybrid.aae import AAE, LabelMixture
from pyrogen.hybrid.vaegan import VAEGAN, FeatureCritic

__all__ = ["AAE", "VAEGAN", "FeatureCritic", "LabelMixture"]
