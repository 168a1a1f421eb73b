"""Data sets by name, a user's own files, toy densities with known likelihood, and batches."""

from pyrogen.data.batches import batches
from pyrogen.data.columns import Column
from pyrogen.data.dataset import Dataset, Description, Split
from pyrogen.data.datasets import Entry, names
from pyrogen.data.loading import load
from pyrogen.data.noise import Binarise, Dequantise, ReadColumns
from pyrogen.data.shown import Shown, show
from pyrogen.data.sources.arrays import from_array
from pyrogen.data.sources.folders import from_folder
from pyrogen.data.space import Space
from pyrogen.data.table import RawData, ReadOptions
from pyrogen.data.toy import TOYS, ToyDensity

__all__ = [
    "TOYS",
    "Binarise",
    "Column",
    "Dataset",
    "Dequantise",
    "Description",
    "Entry",
    "RawData",
    "ReadColumns",
    "ReadOptions",
    "Shown",
    "Space",
    "Split",
    "ToyDensity",
    "batches",
    "from_array",
    "from_folder",
    "load",
    "names",
    "show",
]
