"""Networks for images: strided convolutions and their transposes, from 8 × 8 pixels on, and random affine maps.

Each convolution halves the sides (rounding down), by default until the smaller one is below 8, or doubles them: a
kernel of 4, stride 2 and padding 1 maps ``h -> ⌊h / 2⌋``, and its transpose with an output padding of ``h mod 2``
maps ``⌊h / 2⌋ -> h``.
"""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError, unknown

NORMS: dict[str, Callable[[int], nn.Module] | None] = {
    "none": None,
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),
}
"""Normalisation after a convolution: none, batch normalisation (per channel) or layer normalisation (per datum)."""


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return ``shape`` as ``(channel, height, width)``; raise ``ConfigError`` if it does not have three entries."""
    if len(shape) != 3:
        raise ConfigError(f"convolutional networks expect images (channel, height, width); got shape {tuple(shape)}")
    return shape[0], shape[1], shape[2]


def halved_sizes(height: int, width: int, layers: int = 0) -> list[tuple[int, int]]:
    """Return the sizes after each halving, beginning with the image's own: ``(28, 28), (14, 14), (7, 7)``.

    Args:
        height: of the image.
        width: of the image.
        layers: the number of halvings; 0: until the smaller side is below 8.

    Raises:
        ConfigError: if a side is below 8 pixels, or cannot be halved that often.
    """
    if min(height, width) < 8:
        raise ConfigError(f"convolutional networks expect images of at least 8 x 8 pixels; got {height} x {width}")
    most = min(height, width).bit_length() - 1
    if not 0 <= layers <= most:
        raise ConfigError(f"{height} x {width} pixels can be halved at most {most} times; got layers={layers}")
    layers = layers or most - 2
    return [(height >> i, width >> i) for i in range(layers + 1)]


class ConvDown(nn.Sequential):
    """Map an image to a vector by strided convolutions.

    Args:
        shape: ``(channel, height, width)`` of the input.
        outputs: length of the result, ``(batch, outputs)``.
        width: channels after the first layer; they double at each further one.
        activation: the nonlinearity after each convolution.
        norm: of ``NORMS``, after every convolution but the first.
        layers: the number of convolutions; 0: until a side is below 8.

    Raises:
        ConfigError: for an unknown norm, images smaller than 8 × 8, or more layers than possible halvings.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        width: int = 32,
        activation: Callable[[], nn.Module] = nn.SiLU,
        norm: str = "none",
        layers: int = 0,
    ) -> None:
        channels, height, side = image_shape(shape)
        *_, (h, w) = sizes = halved_sizes(height, side, layers)
        widths = [channels, *(width * 2**i for i in range(len(sizes) - 1))]
        make = _norm(norm)
        modules: list[nn.Module] = []
        for i in range(len(sizes) - 1):
            normed = [make(widths[i + 1])] if make and i else []
            modules += [nn.Conv2d(widths[i], widths[i + 1], 4, 2, 1, bias=not normed), *normed, activation()]
        super().__init__(*modules, nn.Flatten(), nn.Linear(widths[-1] * h * w, outputs))


class ConvUp(nn.Sequential):
    """Map a vector to an image by transposed convolutions: the mirror image of ``ConvDown``, with linear outputs.

    Args:
        inputs: length of the vector, ``(batch, inputs)``.
        shape: ``(channel, height, width)`` of the result.
        width: channels before the last layer; they double at each earlier one.
        activation: the nonlinearity after each layer but the last.
        norm: of ``NORMS``, after each layer but the last.
        layers: the number of convolutions; 0: from a side below 8.

    Raises:
        ConfigError: for an unknown norm, images smaller than 8 × 8, or more layers than possible halvings.
    """

    def __init__(
        self,
        inputs: int,
        shape: Sequence[int],
        width: int = 32,
        activation: Callable[[], nn.Module] = nn.SiLU,
        norm: str = "none",
        layers: int = 0,
    ) -> None:
        channels, height, side = image_shape(shape)
        sizes = halved_sizes(height, side, layers)[::-1]
        widths = [*(width * 2**i for i in reversed(range(len(sizes) - 1))), channels]
        start = (widths[0], *sizes[0])
        make = _norm(norm)
        modules: list[nn.Module] = [nn.Linear(inputs, prod(start), bias=not make), nn.Unflatten(1, start)]
        for i, (h, w) in enumerate(sizes[1:]):
            normed = [make(widths[i])] if make else []
            last, padding = i == len(sizes) - 2, (h % 2, w % 2)
            up = nn.ConvTranspose2d(widths[i], widths[i + 1], 4, 2, 1, output_padding=padding, bias=last or not make)
            modules += [*normed, activation(), up]
        super().__init__(*modules)


def _norm(name: str) -> Callable[[int], nn.Module] | None:
    if name not in NORMS:
        raise unknown("norm", name, NORMS)
    return NORMS[name]


def dcgan_init(module: nn.Module) -> None:
    """DCGAN's initialisation: N(0, 0.02²) for (transposed) convolutions and linear layers, N(1, 0.02²) for BatchNorm.

    Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional
    generative adversarial networks", ICLR 2016. Use as ``network.apply(dcgan_init)``.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    bias: Tensor | None = getattr(module, "bias", None)
    if isinstance(bias, Tensor):
        nn.init.zeros_(bias)


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
