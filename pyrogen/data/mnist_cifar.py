"""MNIST, Fashion-MNIST and CIFAR-10 in torchvision's folder layout; missing files are downloaded.

The IDX files are read here, plain or gzipped: torchvision requires them to be unpacked into the root folder, which may
be read-only, and rejects a ``.gz`` file that was compressed again.
"""

import gzip
import os
import sys
import warnings
import zlib
from collections.abc import Sequence
from contextlib import redirect_stdout
from http.client import HTTPException
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from pyrogen.errors import DataError
from pyrogen.files import regular_file, write_whole

Parts = list[tuple[Tensor, Tensor]]
"""Images ``uint8 (n, c, h, w)`` and labels ``long (n,)`` of the training and the test files."""

_CIFAR10_FOLDER = "cifar-10-batches-py"


def read_idx(root: Path, folder: str) -> Parts:
    """Read the training and test files of a data set in MNIST's format.

    Args:
        root: the folder of data sets; written to only if files are missing.
        folder: ``MNIST`` or ``FashionMNIST``, which is also the name of torchvision's class.

    Raises:
        DataError: naming a damaged file, or the files expected if they are missing and cannot be downloaded.
    """
    inside = f"{folder}/raw"
    raw = root / inside
    plain = [f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    if not all(_find(raw, name) for name in plain):
        _download(folder, root, inside, plain)
    parts = []
    for part, n in (("train", 60_000), ("t10k", 10_000)):
        x = _idx(raw, f"{part}-images-idx3-ubyte", (n, 28, 28))
        y = _idx(raw, f"{part}-labels-idx1-ubyte", (n,))
        if y.max() > 9:
            raise DataError(f"{raw}/{part}-labels-idx1-ubyte: expected labels from 0 to 9, got {int(y.max())}")
        parts.append((x[:, None], y.long()))
    return parts


def read_cifar10(root: Path) -> Parts:
    """Read the training and test files of CIFAR-10 by torchvision, which verifies their checksums.

    They are pickles, which can execute code when read: only the original files are safe.

    Args:
        root: the folder of data sets; written to only if files are missing.

    Raises:
        DataError: naming a damaged folder, or the files expected if they are missing and cannot be downloaded.
    """
    from torchvision.datasets import CIFAR10

    folder = root / _CIFAR10_FOLDER
    files = [name for name, *_ in (*CIFAR10.train_list, *CIFAR10.test_list)] + [CIFAR10.meta["filename"]]
    if not all(os.path.isfile(folder / name) for name in files):
        _download("CIFAR10", root, _CIFAR10_FOLDER, files)
    parts = []
    with warnings.catch_warnings():
        # The pickles are from 2009, and numpy 2.4.0 to 2.4.4 warn about their format of dtypes.
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        for train in (True, False):
            try:
                files = CIFAR10(root, train=train)
            except (RuntimeError, OSError) as error:
                raise DataError(f"{folder} is damaged ({error}); remove it to download it again") from error
            parts.append((torch.from_numpy(files.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(files.targets)))
    return parts


def _find(raw: Path, name: str) -> Path | None:
    return next((file for file in (raw / name, raw / f"{name}.gz") if os.path.isfile(file)), None)


def _download(name: str, root: Path, folder: str, files: Sequence[str]) -> None:
    """Download a data set by torchvision, which verifies checksums, and move its files to their place when it is whole.

    A kill leaves no partial file, and of two processes either may finish first.
    """
    import torchvision.datasets

    try:
        root.mkdir(parents=True, exist_ok=True)
        # Standard output is reserved for results; some versions of torchvision print their progress to it.
        with TemporaryDirectory(dir=root, prefix=f".{name}.", suffix=".part") as part, redirect_stdout(sys.stderr):
            getattr(torchvision.datasets, name)(part, download=True)
            (root / folder).mkdir(parents=True, exist_ok=True)
            for file in files:
                write_whole(root / folder / file, Path(part, folder, file).read_bytes())
    except (OSError, RuntimeError, HTTPException, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"the {name} data are not in {root}, and the download failed ({reason}). Expected "
            f"{root / folder}/{{{', '.join(files)}}}; set their folder with --data-root DIR or PYROGEN_DATA=DIR"
        ) from error


def _idx(raw: Path, name: str, shape: tuple[int, ...]) -> Tensor:
    """Read an IDX file: two zero bytes, the type 8 (``uint8``), the rank, big-endian sizes, values."""
    file, start = _find(raw, name), 4 + 4 * len(shape)
    if file is None:
        raise DataError(f"{raw / name}: expected this file, plain or .gz, found neither")
    try:
        with regular_file(file) as packed:
            stream = gzip.GzipFile(fileobj=packed) if file.suffix == ".gz" else packed
            content = stream.read(start + prod(shape) + 1)  # a packed file could unpack to more than the memory
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} is damaged: {error}; remove it to download it again") from error
    header = bytes((0, 0, 8, len(shape))) + b"".join(size.to_bytes(4, "big") for size in shape)
    if content[:start] != header:
        raise DataError(f"{file}: expected an IDX file of {shape} bytes, got the header {content[:start].hex(' ')}")
    if len(content) - start != prod(shape):
        found = f"{'more' if len(content) - start > prod(shape) else len(content) - start}"
        raise DataError(f"{file} is damaged: expected {prod(shape)} values, got {found}")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).view(shape)
