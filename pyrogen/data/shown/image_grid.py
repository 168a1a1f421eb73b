"""Image grids: many small images in one, enlarged without interpolation."""

import io
from math import ceil, sqrt

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pyrogen.errors import DataError
from pyrogen.files import Target, write_optional

GAP = 2  # pixels between the images of a grid
PAIR_GAP = 12  # pixels between rows of pairs
MIN_SIDE = 40  # minimum length of an image's longer side, in pixels
GAP_COLOUR = (112, 117, 128)
MISSING_COLOUR = (140, 118, 168)  # violet: a hue that no grey image holds


def image_scale(height: int, width: int) -> int:
    """The integer factor that enlarges small images to at least ``MIN_SIDE`` pixels."""
    return max(1, ceil(MIN_SIDE / max(height, width)))


def grid_png(
    images: Tensor,
    path: Target = None,
    columns: int | None = None,
    scale: int | None = None,
    beneath: Tensor | None = None,
) -> bytes:
    """Draw a grid of images, row by row, without interpolation.

    Args:
        images: ``(n, c, h, w)``, float, ``c`` 1 (grey) or 3 (colour), in [0, 1]; other values are clipped, and NaN
            (not observed) is drawn in violet.
        path: the file to write the PNG to, optional.
        columns: images per row; by default about as many as rows.
        scale: screen pixels per image pixel; by default such that images have at least 40 pixels.
        beneath: ``(n, c, h, w)``, an image for each, drawn beneath it; rows of pairs have a wider gap.

    Returns:
        The bytes of the PNG.

    Raises:
        DataError: if the shape or dtype is wrong, or there is no image.
    """
    if images.dim() != 4 or images.shape[1] not in (1, 3) or not images.numel() or not images.is_floating_point():
        raise DataError(
            "expected float images of shape (n, c, h, w) with n > 0 and c 1 or 3; "
            f"got {str(images.dtype).removeprefix('torch.')} of shape {tuple(images.shape)}"
        )
    n, _, height, width = images.shape
    scale = image_scale(height, width) if scale is None else scale
    columns = min(n, columns or ceil(sqrt(n)))
    rows = [images] if beneath is None else [images, beneath]
    together = len(rows)
    wide = 0 if beneath is None else PAIR_GAP - GAP
    pixels = torch.cat(rows).detach().float().cpu()
    grey_levels = (pixels.nan_to_num(nan=0.0).clamp(0, 1) * 255).round().byte()
    tiles = grey_levels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy().copy()
    tiles[pixels.isnan().any(1).numpy()] = MISSING_COLOUR
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    cell_height, cell_width = height * scale + GAP, width * scale + GAP
    block = together * cell_height + wide
    shape = (ceil(n / columns) * block - GAP - wide, columns * cell_width - GAP, 3)
    sheet = np.full(shape, GAP_COLOUR, dtype=np.uint8)
    for k, tile in enumerate(tiles):
        row, i = divmod(k, n)
        top, left = i // columns * block + row * cell_height, i % columns * cell_width
        sheet[top : top + height * scale, left : left + width * scale] = tile
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="PNG", optimize=True)
    return write_optional(buffer.getvalue(), path)


def image_png(image: Tensor) -> bytes:
    """One image ``(c, h, w)`` in [0, 1] as PNG, a pixel for each of its pixels, in grey or colour."""
    levels = (image.detach().float().cpu().nan_to_num(nan=0.0).clamp(0, 1) * 255).round().byte().numpy()
    buffer = io.BytesIO()
    Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)).save(buffer, format="PNG")
    return buffer.getvalue()
