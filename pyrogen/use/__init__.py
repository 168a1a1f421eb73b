"""Uses of a trained model, one file each: codes, compression, restoration, outliers and others."""

from pyrogen.use.altering import alter, mean_code
from pyrogen.use.codes import decode, encode, reconstruct
from pyrogen.use.interpolation import Interpolation, interpolate

__all__ = ["Interpolation", "alter", "decode", "encode", "interpolate", "mean_code", "reconstruct"]
