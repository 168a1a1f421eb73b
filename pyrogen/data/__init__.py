"""Data: sets by name, a user's own files, toy densities, and batches of them."""

from pyrogen.data.batches import batches
from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.datasets import Entry, load, names
from pyrogen.data.images import Rows, from_array, from_folder
from pyrogen.data.noise import Binarise, Dequantise
from pyrogen.data.space import Space
from pyrogen.data.toy import TOYS, Toy

__all__ = [
    "TOYS",
    "Binarise",
    "Dataset",
    "Dequantise",
    "Entry",
    "Rows",
    "Space",
    "Split",
    "Toy",
    "batches",
    "from_array",
    "from_folder",
    "load",
    "names",
]
