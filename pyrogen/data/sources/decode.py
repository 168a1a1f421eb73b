"""Decoding of image files by Pillow: upright, in one or three channels, of 8 or 16 bits."""

import warnings
from collections.abc import Callable
from typing import IO, Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pyrogen.data.sources.untrusted import check_expansion
from pyrogen.errors import DataError

T = TypeVar("T")

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
"""The suffixes of image files, in upper or lower case."""

# No other decoder is tried, whatever a file's suffix: some, such as PostScript's, start external programs.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
_GREY = ("1", "L", "LA")
_ROTATED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


class Header(NamedTuple):
    """The properties of an image that decide how a set of images is stored.

    Args:
        size: ``(height, width)``, upright.
        grey: whether it has one channel, else three.
        peak: the greatest value of an image of 16 bits; 0 for one of 8 bits.
        scaled: whether all values of an image of 16 bits are those of an 8-bit image times 257.
    """

    size: tuple[int, int]
    grey: bool
    peak: int = 0
    scaled: bool = True


class Files(Protocol):
    """Files by name: a folder or a zip file."""

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        ...

    def size(self, name: str) -> int:
        """The size of a file in bytes, unpacked."""
        ...

    def where(self, name: str = "") -> str:
        """The path of a file, for messages."""
        ...


def open_image(files: Files, name: str, read: Callable[[Image.Image], T]) -> T:
    """Open an image file and return ``read(image)``; every error names the file."""
    where = files.where(name)
    try:
        with warnings.catch_warnings():
            # Pillow only warns about an image of 90 megapixels, and raises for one of 180.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with files.open(name) as file, Image.open(file, formats=_FORMATS) as image:
                check_expansion(files.size(name), image.width * image.height * len(image.getbands()), where)
                return read(image)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{where}: expected an image in one of the formats {', '.join(_FORMATS)}") from error
    except Exception as error:  # every decoder has its own exceptions for damaged files
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{where} cannot be read as an image: {reason}") from error


def read_header(image: Image.Image, size: int | None = None) -> Header:
    """The header of an image; pixels are decoded only for palettes and more than 8 bits.

    Args:
        image: the open image.
        size: as for ``read_pixels``.
    """
    header = _header(image)
    return header._replace(size=(size, size)) if size else header


def _header(image: Image.Image) -> Header:
    if image.mode.startswith(("P", "I", "F")):
        pixels = read_pixels(image)
        shape = (pixels.shape[0], pixels.shape[1])
        if pixels.dtype == np.uint8:
            return Header(shape, pixels.ndim == 2)
        return Header(shape, pixels.ndim == 2, int(pixels.max()), not (pixels % 257).any())
    # The getexif() of a PNG file would decode the image first, to read the chunks after it.
    rotated = Image.Image.getexif(image).get(ExifTags.Base.Orientation) in _ROTATED
    return Header((image.width, image.height) if rotated else (image.height, image.width), image.mode in _GREY)


def read_pixels(image: Image.Image, size: int | None = None) -> NDArray[Any]:
    """``(h, w)`` of ``uint8`` or ``uint16`` if the image is grey, else ``(h, w, 3)`` of ``uint8``.

    Transparent images are composited onto white, animations give their first frame, and EXIF orientation is applied.

    Args:
        image: the open image.
        size: resize the shorter side to this length and crop the centre to a square; ``None`` leaves images unchanged.
    """
    if size and image.format == "JPEG":
        image.draft(None, (2 * size, 2 * size))  # decodes a large photograph at a fraction of its size
    ImageOps.exif_transpose(image, in_place=True)
    mode = image.mode
    if mode.startswith("I"):
        return _deep(image, size)
    if mode == "F":
        raise ValueError("expected integer grey levels, got floating point")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    picture = image if image.mode in ("L", "RGB") else image.convert("RGB")
    pixels = np.asarray(_square(picture, size) if size else picture)
    if pixels.ndim == 2:
        return pixels
    # Whether a palette has only greys shows in the pixels.
    grey = mode in _GREY or (mode in ("P", "PA") and bool((pixels == pixels[..., :1]).all()))
    return pixels[..., 0] if grey else pixels


def _deep(image: Image.Image, size: int | None) -> NDArray[np.uint16]:
    """The grey levels of an image of more than 8 bits."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"expected at most 16 bits of grey, got {values.min()} to {values.max()}")
    if size:
        resized = np.asarray(_square(Image.fromarray(values.astype(np.float32)), size))
        values = resized.round().clip(values.min(), values.max())
    return values.astype(np.uint16)


def _square(image: Image.Image, size: int) -> Image.Image:
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
