"""Random affine maps of images, for networks that are to see through them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError
from pyrogen.nn.conv import image_shape


class RandomAffine(nn.Module):
    """Map each image by an affine map of its plane at random in training mode; in evaluation mode return it as it is.

    The map is u ↦ (I + A) u + b about the centre, in pixels, with A_ij ~ U(-a, a), which rotates, scales and shears,
    and b_i ~ U(-s, s). Values between pixels are interpolated linearly; values beyond the edge are those at the edge.

    Args:
        shape: ``(channel, height, width)``.
        shift: s, in pixels.
        distortion: a; 0.2 rotates by up to 11 degrees, or scales by up to 20%.

    Raises:
        ConfigError: for data that are not images, or a negative shift or distortion.
    """

    radius: Tensor

    def __init__(self, shape: Sequence[int], shift: float, distortion: float) -> None:
        super().__init__()
        if not (shift >= 0 and distortion >= 0):
            raise ConfigError(f"expected a shift and a distortion of at least 0; got {shift} and {distortion}")
        _, height, width = image_shape(shape)
        self.shift, self.distortion = shift, distortion
        self.register_buffer("radius", torch.tensor([width / 2, height / 2]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mapped images, ``(batch, *shape)``."""
        if not self.training:
            return x
        noise = 2 * torch.rand(len(x), 2, 3, device=x.device, dtype=x.dtype) - 1
        # grid_sample measures both axes in half sides.
        linear = torch.eye(2, device=x.device, dtype=x.dtype) + self.distortion * noise[..., :2]
        linear = linear * self.radius / self.radius[:, None]
        maps = torch.cat((linear, (self.shift * noise[..., 2] / self.radius)[..., None]), 2)
        return F.grid_sample(
            x, F.affine_grid(maps, list(x.shape), align_corners=False), padding_mode="border", align_corners=False
        )
