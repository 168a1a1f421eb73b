"""Uses of a trained model, one file each: codes, compression, restoration, outliers and others."""

from pyrogen.use.altering import alter, mean_code
from pyrogen.use.codes import decode, encode, reconstruct
from pyrogen.use.interpolation import Interpolation, interpolate
from pyrogen.use.operators import Downsample, Grey, Mask, Noise
from pyrogen.use.outliers import Outliers, conformal_p_values, default_scores, find_outliers
from pyrogen.use.restoration import Restoration, restore

__all__ = [
    "Downsample",
    "Grey",
    "Interpolation",
    "Mask",
    "Noise",
    "Outliers",
    "Restoration",
    "alter",
    "conformal_p_values",
    "decode",
    "default_scores",
    "encode",
    "find_outliers",
    "interpolate",
    "mean_code",
    "reconstruct",
    "restore",
]
