"""Noise in the data: the random numbers, and the maps from stored values to data that use them."""

from pyrogen.data.noise.maps import Binarise, Dequantise, ReadColumns, StreamedNoise
from pyrogen.data.noise.uniform import Draws, Stream

__all__ = ["Binarise", "Dequantise", "Draws", "ReadColumns", "Stream", "StreamedNoise"]
