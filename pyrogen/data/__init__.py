"""Data sets by name, a user's own files, toy densities with known likelihood, and batches."""

from pyrogen.data.batches import batches
from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.datasets import Entry, load, names
from pyrogen.data.images import RawData, from_array, from_folder
from pyrogen.data.noise import Binarise, Dequantise
from pyrogen.data.space import Space
from pyrogen.data.toy import TOYS, ToyDensity

__all__ = [
    "TOYS",
    "Binarise",
    "Dataset",
    "Dequantise",
    "Entry",
    "RawData",
    "Space",
    "Split",
    "ToyDensity",
    "batches",
    "from_array",
    "from_folder",
    "load",
    "names",
]
