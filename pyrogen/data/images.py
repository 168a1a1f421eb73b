"""A user's own data: a folder of pictures, or an array in a ``.npy`` or ``.npz`` file.

Both come back as ``Rows``, stored as small as they are: 8-bit pictures as ``uint8``, to be dequantised
at each reading, and anything finer as floats in [0, 1].
"""

import zlib
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.checks import check_finite, check_images, check_labels
from pyrogen.data.image_files import Pictures
from pyrogen.data.memmap import MemoryMapped, extremes, held, mapped
from pyrogen.data.space import Space
from pyrogen.errors import DataError
from pyrogen.nn.precision import standard

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
"""The files of a folder that are read as pictures, in upper or lower case."""


class Rows(NamedTuple):
    """Data that are not yet split.

    Args:
        x: the stored rows, ``(n, *event)``: ``uint8`` grey levels, or floats that are the data; on disk if large.
        y: labels, ``long (n,)``, or ``None``.
        classes: the class names by label; empty without labels.
        measure: the space of the data; where it has ``levels``, the rows are levels to dequantise.
    """

    x: Tensor | MemoryMapped
    y: Tensor | None
    classes: tuple[str, ...]
    space: Space


def from_folder(path: str | Path) -> Rows:
    """Read a folder of pictures, all of one size.

    Its sub-folders are the classes, in the order of their names; a folder without sub-folders has no
    labels. Hidden files, and files that by their names are no pictures, are passed over. If every
    picture is grey there is one channel, else three. Transparent pictures are laid on white, of an
    animation the first frame is taken, photographs are turned upright. 16-bit grey keeps its 16 bits,
    as ``v / 65535``. Pictures that take 2 GiB or more in memory stay in their files, and are decoded anew
    for every batch.

    Args:
        path: the folder.

    Raises:
        DataError: naming the file or folder that is missing, empty, unreadable or of another size.
    """
    folder = Path(path).expanduser()
    classes = _classes(folder)
    files = [file for members in classes.values() for file in members]
    pictures = Pictures(files)
    x, space = held(pictures), Space("unit", levels=256 if pictures.dtype == np.uint8 else 0)
    if "" in classes:
        return Rows(x, None, (), space)
    sizes_of = torch.tensor([len(members) for members in classes.values()])
    return Rows(x, torch.arange(len(classes)).repeat_interleave(sizes_of), tuple(classes), space)


def _classes(folder: Path) -> dict[str, list[Path]]:
    """The image files of each class by its name; under the name ``""`` those of a folder without classes."""
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        inside = {d.name: _image_files(sorted(d.iterdir())) for d in entries if d.is_dir()}
    except OSError as error:
        raise DataError(f"expected a folder of images: {error.strerror}: {error.filename}") from error
    flat = _image_files(entries)
    named = [name for name, files in inside.items() if files]
    if flat and named:
        raise DataError(
            f"{folder} holds images ({flat[0].name}) as well as class folders ({named[0]}): keep one or the other"
        )
    if flat:
        return {"": flat}
    if not named:
        kinds = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{folder}: expected image files ({kinds}), in it or in its class folders, but there are none")
    if len(named) < len(inside):
        empty = next(name for name, files in inside.items() if not files)
        raise DataError(f"{folder / empty}: expected the images of a class, but there are none")
    return inside


def _image_files(entries: list[Path]) -> list[Path]:
    return [e for e in entries if e.suffix.lower() in SUFFIXES and not e.name.startswith(".") and not e.is_dir()]


def from_array(path: str | Path) -> Rows:
    """Read data from a ``.npy`` file, or from a ``.npz`` file as ``x``, or its only array, and labels ``y``.

    Images are ``(n, h, w)``, ``(n, c, h, w)`` or ``(n, h, w, c)`` with one or three channels: ``uint8``,
    ``uint16`` (as ``v / 65535``), or floats in [0, 1]. Vectors are ``(n, d)`` or ``(n,)``, of any finite
    values. Booleans, and arrays of nothing but zeros and ones, are binary. Float images all of whose
    values are ``k / 255`` are 8-bit images: as they are, a density on them could grow without bound. A ``.npy`` file of
    2 GiB or more that holds ``uint8`` images or ``float32`` values stays on disk, and batches are read from it.

    Args:
        path: the file.

    Raises:
        DataError: naming the file, and the shape, dtype or values that cannot be used.
    """
    file = Path(path).expanduser()
    where = str(file)
    try:
        on_disk = mapped(file)
    except (OSError, ValueError):
        on_disk = None  # what is wrong with it, loading says
    if on_disk is not None:
        return _on_disk(on_disk, where)
    x, y = _load(file)
    if x.dtype.kind not in "biuf":
        raise DataError(f"{where}: expected an array of numbers, got dtype {x.dtype}")
    if x.size == 0 or x.ndim not in (1, 2, 3, 4):
        expected = "vectors (n, d) or images (n, h, w), (n, c, h, w) or (n, h, w, c)"
        raise DataError(f"{where}: expected {expected}, got shape {x.shape}")
    if x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        x = np.moveaxis(x, 3, 1)
    x = x[:, None] if x.ndim in (1, 3) else x
    stored, space = _vectors(x, where) if x.ndim == 2 else _images(x, where)
    if y is None:
        return Rows(stored, None, (), space)
    if y.dtype.kind not in "biuf":
        raise DataError(f"{where}: expected integer labels y, got dtype {y.dtype}")
    labels = torch.from_numpy(y.astype(np.float64 if y.dtype.kind == "f" else np.int64))
    check_labels(labels, len(stored), f"{where}: y")
    return Rows(stored, labels, tuple(str(k) for k in range(int(labels.max()) + 1)), space)


def _on_disk(array: NDArray[Any], where: str) -> Rows:
    """A large array as it lies in its file; one pass over it finds what cannot be used."""
    low, high = extremes(array)
    check_finite(torch.tensor([low, high]), where)
    if array.dtype == np.uint8:
        return Rows(MemoryMapped(array), None, (), Space("unit", levels=256))
    if array.ndim == 4:
        check_images(torch.tensor([low, high]).view(2, 1, 1, 1), where)
    return Rows(MemoryMapped(array), None, (), Space("unit" if array.ndim == 4 else "real"))


def _load(file: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The arrays ``x`` and ``y`` of a file; pickled objects are never loaded, as they can run code."""
    try:
        with file.open("rb") as stream:  # opened here, as numpy leaves a damaged file open
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded, None
            arrays = dict(loaded.items())
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{file}: expected numbers saved by numpy.save or numpy.savez: {reason}") from error
    names = arrays.keys() - {"y"}
    if "x" not in names and len(names) != 1:
        raise DataError(f"{file}: expected an array 'x' and perhaps labels 'y', got {sorted(arrays)}")
    return arrays["x" if "x" in names else names.pop()], arrays.get("y")


def _is_binary(x: NDArray[Any]) -> bool:
    return x.dtype.kind == "b" or bool(x.min() == 0 and x.max() == 1 and ((x == 0) | (x == 1)).all())


def _vectors(x: NDArray[Any], where: str) -> tuple[Tensor, Space]:
    stored = _floats(x)
    check_finite(stored, where)
    return stored, Space("binary" if _is_binary(x) else "real")


def _images(x: NDArray[Any], where: str) -> tuple[Tensor, Space]:
    if _is_binary(x):
        stored = _floats(x)
        check_images(stored, where)
        return stored, Space("binary")
    if x.dtype.kind == "u" and x.dtype.itemsize == 2:
        x = x / np.float32(65535)
    elif x.dtype.kind in "iu":
        if x.min() < 0 or x.max() > 255:
            raise DataError(f"{where}: expected {x.dtype} images from 0 to 255, got {x.min()} to {x.max()}")
        x = x.astype(np.uint8)
    stored = torch.from_numpy(np.ascontiguousarray(x)) if x.dtype == np.uint8 else _floats(x)
    check_images(stored, where)
    return _eight_bit(stored)


def _floats(x: NDArray[Any]) -> Tensor:
    """The values in torch's default type."""
    kind = np.float64 if standard() == torch.float64 else np.float32
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
        return torch.from_numpy(np.ascontiguousarray(x, dtype=kind))


def _eight_bit(x: Tensor) -> tuple[Tensor, Space]:
    """Images as ``uint8`` with 256 levels if all their values are ``k / 255``, else as they are."""
    if x.dtype != torch.uint8:
        level = (x * 255).round()
        if (level / 255 - x).abs().max() > 1e-6:
            return x, Space("unit")
        x = level.to(torch.uint8)
    return x, Space("unit", levels=256)
