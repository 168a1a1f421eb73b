"""The monotone rational-quadratic spline, a flexible invertible elementwise map.

Durkan, Bekasov, Murray and Papamakarios, "Neural spline flows", NeurIPS 2019. In bin k, of width w and height h, with
slope s = h / w, knot derivatives δ, and ξ = (x - x_k) / w,

    y = y_k + h (s ξ² + δ_k ξ (1 - ξ)) / (s + (δ_{k+1} + δ_k - 2 s) ξ (1 - ξ)).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pyrogen.errors import ConfigError

MIN_SHARE = 1e-3
"""The minimum bin width and height relative to equal bins, and the minimum derivative at a knot."""


class Spline:
    """An elementwise map on [-bound, bound], the identity outside.

    Args:
        bins: K; a map takes ``outputs = 3 K - 1`` numbers for each value.
        bound: B.

    Raises:
        ConfigError: for fewer than 2 bins or a bound that is not positive.
    """

    def __init__(self, bins: int = 16, bound: float = 4.0) -> None:
        if bins < 2 or not bound > 0:
            raise ConfigError(f"a spline needs bins >= 2 and bound > 0; got {bins} and {bound}")
        self.bins, self.bound, self.outputs = bins, bound, 3 * bins - 1

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x`` under the parameters ``h``, ``(batch, outputs, *event)``; also log dy/dx, of the shape of x."""
        inside = x.abs() < self.bound
        x_k, y_k, width, height, left, right = self._bin(x, h, by_height=False)
        slope, bend = height / width, left + right - 2 * height / width
        xi = ((x - x_k) / width).clamp(0, 1)
        mixed = xi * (1 - xi)
        below = slope + bend * mixed
        y = y_k + height * (slope * xi.square() + left * mixed) / below
        above = right * xi.square() + 2 * slope * mixed + left * (1 - xi).square()
        log_slope = 2 * slope.log() + above.log() - 2 * below.log()
        return torch.where(inside, y, x), torch.where(inside, log_slope, 0.0)

    def inverse(self, y: Tensor, h: Tensor) -> Tensor:
        """The x that ``forward`` maps to y: the root of a quadratic, in the numerically stable form."""
        inside = y.abs() < self.bound
        x_k, y_k, width, height, left, right = self._bin(y, h, by_height=True)
        slope, bend = height / width, left + right - 2 * height / width
        up = (y - y_k).clamp_min(0)
        a = height * (slope - left) + up * bend
        b = height * left - up * bend
        c = -slope * up
        root = (b.square() - 4 * a * c).clamp_min(0).sqrt()
        xi = (2 * c / (-b - root)).clamp(0, 1)
        return torch.where(inside, x_k + xi * width, y)

    def _bin(self, value: Tensor, h: Tensor, by_height: bool) -> tuple[Tensor, ...]:
        """Left knot, size and derivatives of the bin in which each value lies."""
        widths, heights, derivatives = h.movedim(1, -1).split([self.bins, self.bins, self.bins - 1], -1)
        x_k, y_k = self._knots(widths), self._knots(heights)
        # softplus(0.5413) = 1: the spline is the identity at h = 0, and has slope 1 at its ends for every h.
        slopes = F.pad(MIN_SHARE + (1 - MIN_SHARE) * F.softplus(derivatives + 0.541325), (1, 1), value=1.0)
        inner = (y_k if by_height else x_k)[..., 1:-1]
        k = (value[..., None] >= inner).sum(-1, keepdim=True)

        def pick(knots: Tensor) -> tuple[Tensor, Tensor]:
            return knots.gather(-1, k)[..., 0], knots.gather(-1, k + 1)[..., 0]

        (x0, x1), (y0, y1), (d0, d1) = pick(x_k), pick(y_k), pick(slopes)
        return x0, y0, x1 - x0, y1 - y0, d0, d1

    def _knots(self, sizes: Tensor) -> Tensor:
        """The K + 1 knots from -B to B."""
        shares = MIN_SHARE / self.bins + (1 - MIN_SHARE) * sizes.softmax(-1)
        return 2 * self.bound * F.pad(shares.cumsum(-1), (1, 0)) - self.bound
