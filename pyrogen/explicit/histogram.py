"""The histogram: relative frequencies on a grid of cells.

    p(x) = (1 - ε) n(x) / (N v) + ε q(x)

where n(x) of the N data lie in the cell of x, and v is the volume of a cell (1 for binary data, whose cells are
points). The background density q, a broad Gaussian or the uniform mass function, gives empty cells and points outside
the grid a positive density. ``bins`` cells along each of d dimensions make ``bins^d`` cells, so the model is for
low-dimensional data.
"""

from collections.abc import Sequence
from math import log, prod
from typing import Any, Self

import torch
from torch import Tensor
from torch.distributions import Normal

from pyrogen.data.checks import check_finite
from pyrogen.errors import ConfigError
from pyrogen.explicit.tractable_density import TractableDensity
from pyrogen.nn.precision import model_dtype

BINS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""The numbers of bins that ``best_grid`` selects from."""
BACKGROUNDS = (1e-3, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8)
"""The weights ε that ``best_grid`` selects from."""


class Histogram(TractableDensity):
    """A joint histogram of all dimensions.

    Args:
        shape: the shape of one datum.
        bins: cells along each dimension; 2 for a mass.
        probability: ``density``, or ``mass`` for data of zeros and ones.
        background: the weight ε of q.

    Raises:
        ConfigError: for more than ``MAX_CELLS`` cells, other than 2 bins for a mass, or ε outside (0, 1).
    """

    MAX_CELLS = 2**22
    """The largest number of cells; beyond it a histogram is impractical."""

    low: Tensor
    high: Tensor
    frequency: Tensor
    loc: Tensor
    scale: Tensor

    def __init__(self, shape: Sequence[int], bins: int, probability: str = "density", background: float = 1e-3) -> None:
        super().__init__()
        self.shape, self.bins, self.probability, self.background = tuple(shape), bins, probability, background
        self.dims = prod(self.shape)
        if bins < 1 or (probability == "mass" and bins != 2):
            raise ConfigError(
                f"a histogram of a {probability} needs {'2' if probability == 'mass' else '1 or more'} bins; got {bins}"
            )
        if self.dims * log(bins) > log(self.MAX_CELLS):
            raise ConfigError(
                f"a histogram of {bins} bins in {self.dims} dimensions has {bins}^{self.dims} cells, more than "
                f"{self.MAX_CELLS}: use fewer bins or another model"
            )
        if not 0 < background < 1:
            raise ConfigError(f"background must lie between 0 and 1; got {background}")
        edges = (-0.5, 1.5) if probability == "mass" else (0.0, 1.0)
        for name, value in zip(("low", "high", "loc", "scale"), (*edges, 0.0, 1.0), strict=True):
            self.register_buffer(name, torch.full((self.dims,), value))
        self.register_buffer("frequency", torch.full((bins**self.dims,), float(bins) ** -self.dims))

    def _log_prob(self, x: Tensor, y: Tensor | None) -> Tensor:
        cell, inside = self._cell(x)
        log_volume = 0.0 if self.probability == "mass" else ((self.high - self.low) / self.bins).log().sum()
        counted = torch.where(inside, self.frequency[cell].log(), -torch.inf) - log_volume + log(1 - self.background)
        return torch.logaddexp(counted, self._log_background(x.flatten(1)) + log(self.background))

    def _log_background(self, flat: Tensor) -> Any:
        if self.probability == "mass":
            return torch.full_like(flat[:, 0], -self.dims * log(2))
        return Normal(self.loc, self.scale, validate_args=False).log_prob(flat).sum(1)

    def _cell(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The cell index of each datum, and whether the datum lies in the grid."""
        index = ((x.flatten(1) - self.low) / (self.high - self.low) * self.bins).floor().long()
        inside = ((index >= 0) & (index < self.bins)).all(1)
        strides = self.bins ** torch.arange(self.dims - 1, -1, -1, device=x.device)
        return (index.clamp(0, self.bins - 1) * strides).sum(1), inside

    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        """Draw a cell by its frequency and a uniform point in it, or, with probability ε, a point from q."""
        cell = torch.multinomial(self.frequency, n, replacement=True)
        strides = self.bins ** torch.arange(self.dims - 1, -1, -1, device=cell.device)
        index = (cell[:, None] // strides % self.bins).to(self.low)
        if self.probability == "mass":
            counted, other = index, torch.randint_like(index, 2)
        else:
            counted = self.low + (self.high - self.low) * (index + torch.rand_like(index)) / self.bins
            other = self.loc + self.scale * torch.randn_like(index)
        use = torch.rand(n, 1, device=cell.device) < self.background
        return torch.where(use, other, counted).view(n, *self.shape)

    @classmethod
    def from_data(cls, x: Tensor, bins: int, probability: str = "density", background: float = 1e-3) -> Self:
        """Count ``x``, ``(n, *shape)``; the grid spans its range."""
        check_finite(x, "histogram")
        model = cls(x.shape[1:], bins, probability, background).to(x.device, model_dtype(x))
        flat = x.flatten(1)
        if probability == "density":
            # The margin puts the largest datum inside the last cell.
            margin = 1e-4 * (flat.amax(0) - flat.amin(0)).clamp_min(1e-6)
            model.low.copy_(flat.amin(0) - margin)
            model.high.copy_(flat.amax(0) + margin)
            model.loc.copy_(flat.mean(0))
            model.scale.copy_(1.2 * flat.std(0, correction=0).clamp_min(1e-6))
        counts = torch.bincount(model._cell(x)[0], minlength=len(model.frequency))
        model.frequency.copy_(counts / x.shape[0])
        return model


def best_grid(
    x: Tensor, valid: Tensor, probability: str, bins: int | str = "auto", background: float | str = "auto"
) -> tuple[int, float]:
    """The number of bins and the weight ε with the greatest mean log-likelihood of ``valid``.

    Args:
        x, valid: data to count and to select by, ``(n, *shape)`` each.
        probability: ``density`` or ``mass``.
        bins, background: numbers that are given are kept; ``"auto"`` selects among ``BINS`` and ``BACKGROUNDS``.

    Raises:
        ConfigError: as the constructor of ``Histogram``.
    """
    dims = prod(x.shape[1:])
    grids = [b for b in BINS if dims * log(b) <= log(Histogram.MAX_CELLS)] or [2] if isinstance(bins, str) else [bins]
    weights = BACKGROUNDS if isinstance(background, str) else (background,)
    if len(grids) == len(weights) == 1:
        return grids[0], weights[0]
    found = []
    for grid in grids:
        model = Histogram.from_data(x, grid, probability, weights[0])
        for model.background in weights:
            found.append((float(model.log_prob(valid).mean()), grid, model.background))
    _, best, weight = max(found)
    return best, weight
