"""Image files as the rows of an array: their headers are read at once, their pixels when a row is asked for."""

import os
import warnings
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pyrogen.errors import DataError

T = TypeVar("T")

# Whatever a file is called, no other decoder is tried on it: some, as for PostScript, start programs.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
_GREY = ("1", "L", "LA")
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


class Header(NamedTuple):
    """What is known of an image before its pixels are read.

    Args:
        size: ``(height, width)``, upright.
        grey: whether it has one channel, else three.
        deep: whether 8 bits do not hold its levels.
    """

    size: tuple[int, int]
    grey: bool
    deep: bool


class Pictures:
    """Images of one size, of which rows are read by index: ``pictures[index]`` is ``(len(index), c, h, w)``.

    The rows are ``uint8`` grey levels, or ``float32`` in [0, 1] if 8 bits do not hold some image's levels. There is
    one channel if every image is grey, else three. The constructor reads headers only, but for images with a
    palette or of more than 8 bits: how they are to be stored shows in their pixels alone.

    Args:
        files: the image files, at least one.

    Raises:
        DataError: naming the file that is no image, or is of another size than the first.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        headers = [_open(file, _header) for file in files]
        (h, w), *_ = headers[0]
        for file, header in zip(files, headers, strict=True):
            if header.size != (h, w):
                sizes = f"{files[0]} is {w} x {h} and {file} is {header.size[1]} x {header.size[0]} pixels"
                raise DataError(f"expected images of one size, but {sizes}")
        # One block of bytes: worker processes share it, as they would not share objects whose references are counted.
        self.files = np.array([os.fsencode(file.absolute()) for file in files])
        self.shape = (len(files), 1 if all(header.grey for header in headers) else 3, h, w)
        self.dtype = np.dtype(np.float32 if any(header.deep for header in headers) else np.uint8)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def nbytes(self) -> int:
        """The size of all rows in memory."""
        return prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[Any]:
        """The images at ``index``, decoded.

        Raises:
            DataError: naming the file that is damaged, or that has changed since its header was read.
        """
        files = self.files[index]
        rows = np.empty((len(files), *self.shape[1:]), self.dtype)
        for row, name in zip(rows, files, strict=True):
            file = Path(os.fsdecode(name))
            pixels = self._stored(_open(file, _pixels))
            planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
            if planes.shape[1:] != row.shape[1:] or len(planes) > len(row):
                raise DataError(f"{file}: expected {row.shape} by its header, but its pixels are {planes.shape}")
            row[:] = planes
        return rows

    def _stored(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """The values of ``uint8`` or ``uint16`` pixels in the type of the rows."""
        if self.dtype == np.float32:
            return pixels / np.float32(np.iinfo(pixels.dtype).max)
        return pixels if pixels.dtype == np.uint8 else pixels // 257


def _open(file: Path, read: Callable[[Image.Image], T]) -> T:
    """What ``read`` finds in an image file, whose name every error has in it."""
    try:
        with warnings.catch_warnings():
            # Pillow only warns of a picture of 90 megapixels, and refuses one of 180.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as image:
                return read(image)
    except UnidentifiedImageError as error:
        raise DataError(f"{file} is not an image, or not one of a known format") from error
    except Exception as error:  # a damaged file fails in its decoder, each of which has its own exceptions
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{file} cannot be read as an image: {reason}") from error


def _header(image: Image.Image) -> Header:
    if image.mode.startswith(("P", "I", "F")):
        pixels = _pixels(image)
        deep = pixels.dtype == np.uint16 and bool((pixels % 257).any())
        return Header((pixels.shape[0], pixels.shape[1]), pixels.ndim == 2, deep)
    # A PNG file's own getexif() decodes the image first, to look behind it too.
    sideways = Image.Image.getexif(image).get(ExifTags.Base.Orientation) in _SIDEWAYS
    size = (image.width, image.height) if sideways else (image.height, image.width)
    return Header(size, image.mode in _GREY, False)


def _pixels(image: Image.Image) -> NDArray[Any]:
    """``(h, w)`` of ``uint8`` or ``uint16`` if the image is grey, else ``(h, w, 3)`` of ``uint8``."""
    image = ImageOps.exif_transpose(image)
    mode = image.mode
    if mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"expected at most 16 bits of grey, got {values.min()} to {values.max()}")
        return values.astype(np.uint16)
    if mode == "F":
        raise ValueError("expected integer grey levels, got floating point")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    colour = np.asarray(image.convert("RGB"))
    # A palette says nothing of its colours: whether it is one of greys shows in the pixels.
    grey = mode in _GREY or (mode in ("P", "PA") and bool((colour == colour[..., :1]).all()))
    return colour[..., 0] if grey else colour
