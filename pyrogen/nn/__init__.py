"""Plain torch modules that explicit and implicit models share: networks, convolutions, masks, precision."""

from pyrogen.nn.conv import ConvDown, ConvUp, dcgan_init
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.nn.mlp import mlp
from pyrogen.nn.pooling import PoolDown, PoolUp

__all__ = ["ConvDown", "ConvUp", "PoolDown", "PoolUp", "dcgan_init", "eval_mode", "mlp"]
