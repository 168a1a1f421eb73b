"""A user's own data: a folder of images, or an array in a ``.npy`` or ``.npz`` file.

Both are returned as ``RawData`` in compact form: 8-bit images as ``uint8``, to be dequantised on every read, and
images of higher precision as floats in [0, 1].
"""

import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.checks import check_finite, check_images
from pyrogen.data.columns import array_names
from pyrogen.data.image_files import ImageFiles
from pyrogen.data.memmap import MemoryMapped, load_or_map, min_max, open_memmap
from pyrogen.data.space import Space, real_space
from pyrogen.data.table import DEFAULTS, RawData, ReadOptions, encode_labels, table_data
from pyrogen.errors import DataError
from pyrogen.nn.precision import default_dtype

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
"""The suffixes of image files, in upper or lower case; other files of a folder are ignored."""


def from_folder(path: str | Path) -> RawData:
    """Read a folder of images, all of one size.

    Subfolders are the classes, in alphabetical order; a folder without subfolders has no labels. Hidden files and
    files without an image suffix are ignored. There is one channel if every image is grey, else three. Transparent
    images are composited onto white, animations give their first frame, and EXIF orientation is applied. 16-bit grey
    levels keep their precision, as ``v / 65535``. Images that would take 2 GiB of memory or more stay on disk and are
    decoded for every batch.

    Args:
        path: the folder.

    Returns:
        The images with labels if there are subfolders.

    Raises:
        DataError: naming a file or folder that is missing, empty, unreadable or of a different size.
    """
    folder = Path(path).expanduser()
    classes = _classes(folder)
    files = [file for members in classes.values() for file in members]
    images = ImageFiles(files)
    x, space = load_or_map(images), Space("unit", levels=256 if images.dtype == np.uint8 else 0)
    if "" in classes:
        return RawData(x, None, (), space)
    sizes_of = torch.tensor([len(members) for members in classes.values()])
    return RawData(x, torch.arange(len(classes)).repeat_interleave(sizes_of), tuple(classes), space)


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Return the image files by class name; the name is ``""`` in a folder without classes."""
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        inside = {d.name: _image_files(sorted(d.iterdir())) for d in entries if d.is_dir()}
    except OSError as error:
        raise DataError(f"expected a folder of images: {error.strerror}: {error.filename}") from error
    flat = _image_files(entries)
    named = [name for name, files in inside.items() if files]
    if flat and named:
        raise DataError(f"{folder}: expected either images or class folders, got both ({flat[0].name} and {named[0]})")
    if flat:
        return {"": flat}
    if not named:
        suffixes = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{folder}: expected image files ({suffixes}) in it or in its class folders, found none")
    if len(named) < len(inside):
        empty = next(name for name, files in inside.items() if not files)
        raise DataError(f"{folder / empty}: expected the images of a class, found none")
    return inside


def _image_files(entries: list[Path]) -> list[Path]:
    return [e for e in entries if e.suffix.lower() in SUFFIXES and not e.name.startswith(".") and not e.is_dir()]


def from_array(path: str | Path, options: ReadOptions = DEFAULTS, space: Space | None = None) -> RawData:
    """Read data from a ``.npy`` file, or from a ``.npz`` file: ``x`` or its only array, and labels ``y`` if present.

    Images are ``(n, h, w)``, ``(n, c, h, w)`` or ``(n, h, w, c)`` with one or three channels: ``uint8``, ``uint16``
    (as ``v / 65535``), or floats in [0, 1]. Vectors are ``(n, d)`` or ``(n,)`` with finite values. Booleans, and arrays
    that contain only zeros and ones, are binary. Float images whose values are all ``k / 255`` are treated as 8-bit
    images, since the likelihood of a density on them would be unbounded. A ``.npy`` file of 2 GiB or more with
    ``uint8`` images or ``float32`` values stays on disk and is memory-mapped.

    Args:
        path: the file.

    Returns:
        The data with labels if there are any.

    Raises:
        DataError: naming the file, and the unsupported shape, dtype or values.
    """
    file = Path(path).expanduser()
    where = str(file)
    try:
        on_disk = open_memmap(file)
    except (OSError, ValueError):
        on_disk = None  # loading will report the error
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
    if x.ndim == 2:
        table = dict(zip(array_names(x.shape[1]), x.T, strict=True))
        raw = table_data(table, where, options, space)
    else:
        stored, found = _images(x, where)
        raw = RawData(stored, None, (), found)
    if y is None:
        return raw
    labels, classes = encode_labels(y, f"{where}: y")
    if len(labels) != len(raw.x):
        raise DataError(f"{where}: expected one label y for each of {len(raw.x)} rows, got {len(labels)}")
    return raw._replace(y=labels, classes=classes)


def _on_disk(array: NDArray[Any], where: str) -> RawData:
    """Return a large array memory-mapped, after one pass over it to validate its values."""
    low, high = min_max(array)
    check_finite(torch.tensor([low, high]), where)
    if array.dtype == np.uint8:
        return RawData(MemoryMapped(array), None, (), Space("unit", levels=256))
    if array.ndim == 4:
        check_images(torch.tensor([low, high]).view(2, 1, 1, 1), where)
    space = Space("unit") if array.ndim == 4 else real_space(array_names(array.shape[1]))
    return RawData(MemoryMapped(array), None, (), space)


def _load(file: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Load the arrays ``x`` and ``y``; pickled objects are rejected, since they can execute code."""
    try:
        with file.open("rb") as stream:  # opened here, because numpy does not close a damaged file
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded, None
            arrays = dict(loaded.items())
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{file}: expected numbers saved by numpy.save or numpy.savez: {reason}") from error
    names = arrays.keys() - {"y"}
    if "x" not in names and len(names) != 1:
        raise DataError(f"{file}: expected an array 'x' and optional labels 'y', got {sorted(arrays)}")
    return arrays["x" if "x" in names else names.pop()], arrays.get("y")


def _is_binary(x: NDArray[Any]) -> bool:
    return x.dtype.kind == "b" or bool(x.min() == 0 and x.max() == 1 and ((x == 0) | (x == 1)).all())


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
    """Convert to torch's default dtype."""
    dtype = np.float64 if default_dtype() == torch.float64 else np.float32
    with np.errstate(over="ignore"):  # overflow gives infinity, which check_finite reports
        return torch.from_numpy(np.ascontiguousarray(x, dtype=dtype))


def _eight_bit(x: Tensor) -> tuple[Tensor, Space]:
    """Return images as ``uint8`` with 256 levels if all values are ``k / 255``, else unchanged."""
    if x.dtype != torch.uint8:
        level = (x * 255).round()
        if (level / 255 - x).abs().max() > 1e-6:
            return x, Space("unit")
        x = level.to(torch.uint8)
    return x, Space("unit", levels=256)
