"""Uses of a trained model, one file each: codes, compression, restoration, outliers and others."""

from pyrogen.use.codes import decode, encode, reconstruct

__all__ = ["decode", "encode", "reconstruct"]
