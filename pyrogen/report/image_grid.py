"""Contact sheets: many small images as one, each pixel a sharp square."""

import io
from math import ceil, sqrt

import numpy as np
from PIL import Image
from torch import Tensor

from pyrogen.errors import DataError
from pyrogen.files import Target, keep

GAP = 2  # pixels between the images of a sheet
CELL = 40  # pixels that the longer side of an image takes up at least
GAP_COLOUR = (112, 117, 128)
UNSEEN_COLOUR = (140, 118, 168)  # violet: a hue that no grey image holds


def image_scale(height: int, width: int) -> int:
    """The whole number of screen pixels per image pixel at which small images are large enough to see."""
    return max(1, ceil(CELL / max(height, width)))


def grid_png(images: Tensor, path: Target = None, columns: int | None = None, scale: int | None = None) -> bytes:
    """A contact sheet, row by row, each pixel a sharp square.

    Args:
        images: ``(n, c, h, w)``, float, ``c`` 1 (grey) or 3 (colour), in [0, 1]; what lies outside is
            clipped, and NaN, "not observed", is drawn in violet.
        path: where to write the PNG, if anywhere.
        columns: images per row; as many as rows, unless told.
        scale: screen pixels per image pixel; enough for 40 pixels per image, unless told.

    Raises:
        DataError: the shape or type is another one, or there is no image.
    """
    if images.dim() != 4 or images.shape[1] not in (1, 3) or not images.numel() or not images.is_floating_point():
        raise DataError(
            "a sheet needs float images of shape (n, c, h, w) with n > 0 and c 1 or 3, "
            f"not {str(images.dtype).removeprefix('torch.')} of shape {tuple(images.shape)}"
        )
    n, _, height, width = images.shape
    scale = image_scale(height, width) if scale is None else scale
    columns = min(n, columns or ceil(sqrt(n)))
    pixels = images.detach().float().cpu()
    grey_levels = (pixels.nan_to_num(nan=0.0).clamp(0, 1) * 255).round().byte()
    tiles = grey_levels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy().copy()
    tiles[pixels.isnan().any(1).numpy()] = UNSEEN_COLOUR
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    down, right = height * scale + GAP, width * scale + GAP
    sheet = np.full((ceil(n / columns) * down - GAP, columns * right - GAP, 3), GAP_COLOUR, dtype=np.uint8)
    for i, tile in enumerate(tiles):
        top, left = i // columns * down, i % columns * right
        sheet[top : top + height * scale, left : left + width * scale] = tile
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="PNG", optimize=True)
    return keep(buffer.getvalue(), path)
