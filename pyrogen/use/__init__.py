"""Uses of a trained model, one file each: codes, compression, restoration, outliers and others."""

from pyrogen.use.altering import alter, mean_code
from pyrogen.use.codes import decode, encode, reconstruct
from pyrogen.use.interpolation import Interpolation, interpolate
from pyrogen.use.operators import Downsample, Grey, Mask, Noise
from pyrogen.use.restoration import Restoration, restore

__all__ = [
    "Downsample",
    "Grey",
    "Interpolation",
    "Mask",
    "Noise",
    "Restoration",
    "alter",
    "decode",
    "encode",
    "interpolate",
    "mean_code",
    "reconstruct",
    "restore",
]
