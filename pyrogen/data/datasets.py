"""The catalogue of named data sets, each with three splits and the space of its data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from pyrogen.data.dataset import Noise
from pyrogen.data.memmap import MemoryMapped
from pyrogen.data.mnist_cifar import read_cifar10, read_idx
from pyrogen.data.noise import Binarise, Dequantise, ReadColumns
from pyrogen.data.space import Space, real_space
from pyrogen.data.toy import TOYS, ToyDensity
from pyrogen.random import generator

Stored = tuple[Tensor | MemoryMapped, Tensor | None]
"""The stored rows of one split, and their labels."""

Sizes = tuple[int, int, int]
"""The number of rows in ``train``, ``valid`` and ``test``."""

_DIGITS_SIZES = (1_167, 180, 450)
_TOY_SIZES = (100_000, 10_000, 10_000)


@dataclass(frozen=True)
class Entry:
    """A catalogue entry: the description of a data set, and the function that reads its rows.

    Args:
        shape: the shape of one datum.
        sizes: the number of rows in ``train``, ``valid`` and ``test``.
        space: the space of the data.
        source: where the data come from.
        read: ``(root, seed) -> [train, valid, test]``, the stored rows.
        noise: returns the map from stored rows to data in model coordinates; ``None`` if rows are the data.
        classes: the class names by label; empty where there are no labels.
        truth: the true density, for toy data.
    """

    shape: tuple[int, ...]
    sizes: Sizes
    space: Space
    source: str
    read: Callable[[Path, int], list[Stored]]
    noise: Callable[[Space], Noise] | None = None
    classes: tuple[str, ...] = ()
    truth: ToyDensity | None = None

    def __str__(self) -> str:
        shape, sizes = " x ".join(map(str, self.shape)), " + ".join(f"{n:,}" for n in self.sizes)
        return f"{shape}; {sizes} rows; {self.space}; {self.source}"


def names() -> Mapping[str, Entry]:
    """Return the catalogue: the entry of every data set by name. Does not read or download data."""
    return _CATALOGUE


def shuffled(x: Tensor | MemoryMapped, y: Tensor | None, sizes: Sizes, seed: int) -> list[Stored]:
    """Split rows at random into training, validation and test rows; only the latter two are read from disk."""
    order = torch.randperm(len(x), generator=generator(seed, "split"))
    train, valid, test = torch.split(order, list(sizes))
    train_rows = x.select(train) if isinstance(x, MemoryMapped) else x[train]
    rest = [(x[part], None if y is None else y[part]) for part in (valid, test)]
    return [(train_rows, None if y is None else y[train]), *rest]


def _digits(root: Path, seed: int) -> list[Stored]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.from_numpy(digits.images).to(torch.uint8)[:, None]
    return shuffled(x, torch.from_numpy(digits.target).long(), _DIGITS_SIZES, seed)


def _idx(folder: str, root: Path, seed: int) -> list[Stored]:
    (x, y), (test_x, test_y) = read_idx(root, folder)
    # The second half of MNIST's test file is easier than the first, so a part of it must be a random one.
    order = torch.randperm(len(test_x), generator=generator(0, "test order"))
    return [(x[:50_000], y[:50_000]), (x[50_000:], y[50_000:]), (test_x[order], test_y[order])]


def _stacked(single: Callable[[Path, int], list[Stored]], sizes: Sizes, root: Path, seed: int) -> list[Stored]:
    """Stack three random digits as the channels of one image: 1,000 modes of about equal weight."""
    splits = zip(("train", "valid", "test"), single(root, seed), sizes, strict=True)
    stored: list[Stored] = []
    for split, (x, _), n in splits:
        indices = torch.randint(len(x), (n, 3), generator=generator(0, "stacked", split))
        stored.append((x[:][indices, 0], None))
    return stored


def _cifar10(root: Path, seed: int) -> list[Stored]:
    (x, y), test = read_cifar10(root)
    return [(x[:45_000], y[:45_000]), (x[45_000:], y[45_000:]), test]


def _binarise(max_level: int, _: Space) -> Noise:
    return Binarise(max_level)


def _samples(toy: ToyDensity, root: Path, seed: int) -> list[Stored]:
    splits = zip(("train", "valid", "test"), _TOY_SIZES, strict=True)
    return [(toy.sample(n, generator(seed, "toy", split)), None) for split, n in splits]


def _catalogue() -> Mapping[str, Entry]:
    digits = tuple("0123456789")
    clothes = (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )
    objects = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    download = "downloaded by torchvision where absent"
    mnist, fashion = partial(_idx, "MNIST"), partial(_idx, "FashionMNIST")
    entries = {}
    for name, shape, sizes, levels, source, read, classes in (
        ("digits", (1, 8, 8), _DIGITS_SIZES, 17, "embedded in scikit-learn", _digits, digits),
        ("mnist", (1, 28, 28), (50_000, 10_000, 10_000), 256, download, mnist, digits),
        ("fashion-mnist", (1, 28, 28), (50_000, 10_000, 10_000), 256, download, fashion, clothes),
    ):
        unit, logit = Space("unit", levels), Space("logit", levels)
        entry = partial(Entry, shape, sizes, source=source, read=read, classes=classes)
        entries[name] = entry(unit, noise=Dequantise)
        entries[f"{name}-binary"] = entry(Space("binary"), noise=partial(_binarise, levels - 1))
        entries[f"{name}-logit"] = entry(logit, noise=Dequantise)
    unit = Space("unit", levels=256)
    sizes = (45_000, 5_000, 10_000)
    entries["cifar10"] = Entry((3, 32, 32), sizes, unit, download, _cifar10, Dequantise, objects)
    for name, side, levels, sizes, single in (
        ("digits", 8, 17, (20_000, 2_000, 5_000), _digits),
        ("mnist", 28, 256, (128_000, 10_000, 10_000), mnist),
    ):
        unit, source = Space("unit", levels), f"three digits of {name} as channels: 1,000 modes"
        read = partial(_stacked, single, sizes)
        entries[f"stacked-{name}"] = Entry((3, side, side), sizes, unit, source, read, Dequantise)
    for name, toy in TOYS.items():
        source = "samples of a known density"
        read = partial(_samples, toy())
        columns = ("x₁", "x₂")[: toy().sample(0).shape[1]]
        entries[name] = Entry((len(columns),), _TOY_SIZES, real_space(columns), source, read, ReadColumns, truth=toy())
    return MappingProxyType(entries)


_CATALOGUE = _catalogue()
