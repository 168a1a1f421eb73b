"""Plain torch modules that explicit and implicit models share: networks, convolutions, masks, precision."""

from pyrogen.nn.conditions import Attributes, Condition, Conditional, Label, PartialImage, observe_quadrants
from pyrogen.nn.conv import ConvDown, ConvUp, dcgan_init
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.nn.mlp import mlp
from pyrogen.nn.networks import decoder_for, encoder_for
from pyrogen.nn.noise import NormalNoise
from pyrogen.nn.pooling import PoolDown, PoolUp

__all__ = [
    "Attributes",
    "Condition",
    "Conditional",
    "ConvDown",
    "ConvUp",
    "Label",
    "NormalNoise",
    "PartialImage",
    "PoolDown",
    "PoolUp",
    "dcgan_init",
    "decoder_for",
    "encoder_for",
    "eval_mode",
    "mlp",
    "observe_quadrants",
]
