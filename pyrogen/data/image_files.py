"""Image files as rows of an array: headers are read at construction, pixels when a row is indexed."""

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

# No other decoder is tried, whatever a file's suffix: some, such as PostScript's, start external programs.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
_GREY = ("1", "L", "LA")
_ROTATED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


class Header(NamedTuple):
    """The properties of an image that are read from its header.

    Args:
        size: ``(height, width)``, upright.
        grey: whether it has one channel, else three.
        exceeds_8_bits: whether its grey levels need more than 8 bits.
    """

    size: tuple[int, int]
    grey: bool
    exceeds_8_bits: bool


class ImageFiles:
    """Image files of one size that are read by index: ``images[index]`` is ``(len(index), c, h, w)``.

    The rows are ``uint8`` intensities, or ``float32`` in [0, 1] if some image has grey levels of more than 8 bits.
    There is one channel if every image is grey, else three. The constructor reads only headers, except for images with
    a palette or more than 8 bits, whose storage format depends on their pixels.

    Args:
        files: the image files, at least one.

    Raises:
        DataError: naming a file that is not an image, or whose size differs from that of the first.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        headers = [_open(file, _header) for file in files]
        (h, w), *_ = headers[0]
        for file, header in zip(files, headers, strict=True):
            if header.size != (h, w):
                sizes = f"{files[0]} is {w} x {h} and {file} is {header.size[1]} x {header.size[0]} pixels"
                raise DataError(f"expected images of one size, but {sizes}")
        # One block of bytes, which worker processes share; reference counting would copy the pages of a list.
        self.files = np.array([os.fsencode(file.absolute()) for file in files])
        self.shape = (len(files), 1 if all(header.grey for header in headers) else 3, h, w)
        self.dtype = np.dtype(np.float32 if any(header.exceeds_8_bits for header in headers) else np.uint8)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def nbytes(self) -> int:
        """The size of all rows in memory."""
        return prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[Any]:
        """The images at ``index``, decoded.

        Raises:
            DataError: naming a file that is damaged or has changed since its header was read.
        """
        files = self.files[index]
        rows = np.empty((len(files), *self.shape[1:]), self.dtype)
        for row, name in zip(rows, files, strict=True):
            file = Path(os.fsdecode(name))
            pixels = self._stored(_open(file, _pixels))
            planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
            if planes.shape[1:] != row.shape[1:] or len(planes) > len(row):
                raise DataError(f"{file}: expected pixels of shape {row.shape} as in its header, got {planes.shape}")
            row[:] = planes
        return rows

    def _stored(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Convert ``uint8`` or ``uint16`` pixels to the dtype of the rows."""
        if self.dtype == np.float32:
            return pixels / np.float32(np.iinfo(pixels.dtype).max)
        return pixels if pixels.dtype == np.uint8 else pixels // 257


def _open(file: Path, read: Callable[[Image.Image], T]) -> T:
    """Open an image file and return ``read(image)``; every error names the file."""
    try:
        with warnings.catch_warnings():
            # Pillow only warns about an image of 90 megapixels, and raises for one of 180.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as image:
                return read(image)
    except UnidentifiedImageError as error:
        raise DataError(f"{file}: expected an image in one of the formats {', '.join(_FORMATS)}") from error
    except Exception as error:  # every decoder has its own exceptions for damaged files
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{file} cannot be read as an image: {reason}") from error


def _header(image: Image.Image) -> Header:
    if image.mode.startswith(("P", "I", "F")):
        pixels = _pixels(image)
        exceeds_8_bits = pixels.dtype == np.uint16 and bool((pixels % 257).any())
        return Header((pixels.shape[0], pixels.shape[1]), pixels.ndim == 2, exceeds_8_bits)
    # The getexif() of a PNG file would decode the image first, to read the chunks after it.
    rotated = Image.Image.getexif(image).get(ExifTags.Base.Orientation) in _ROTATED
    size = (image.width, image.height) if rotated else (image.height, image.width)
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
    # Whether a palette has only greys shows in the pixels.
    grey = mode in _GREY or (mode in ("P", "PA") and bool((colour == colour[..., :1]).all()))
    return colour[..., 0] if grey else colour
