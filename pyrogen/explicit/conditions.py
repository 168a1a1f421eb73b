"""Side information y that a conditional model knows: a label, a vector of attributes, a part of the image."""

from collections.abc import Sequence
from math import prod
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import DataError
from pyrogen.nn.precision import at_least_float32


class Condition(Protocol):
    """How side information enters a network.

    ``features`` is the length of what ``forward(y)`` gives, ``(batch, features)``; ``hidden(y)`` says which
    values of x are not already given by y (``None``: all of them).
    """

    features: int

    def __call__(self, y: Tensor, /) -> Tensor:
        """The features of y, ``(batch, features)``."""
        ...

    def hidden(self, y: Tensor, /) -> Tensor | None:
        """A mask of the shape of x, true where x is unknown; ``None`` where y gives away none of x."""
        ...


class Label(nn.Module):
    """A class label, ``long (batch,)``, as one of ``classes`` indicators.

    Args:
        classes: how many classes there are.
        weights: their relative frequencies, p(y); equal by default. None counts for less than a millionth, so that a
            class which training lacks is rare and not impossible.
    """

    probs: Tensor

    def __init__(self, classes: int, weights: Tensor | None = None) -> None:
        super().__init__()
        self.features = classes
        weights = torch.ones(classes) if weights is None else weights.to(torch.get_default_dtype())
        weights = (weights / weights.sum()).clamp_min(1e-6)
        self.register_buffer("probs", weights / weights.sum())

    def forward(self, y: Tensor) -> Tensor:
        """One-hot indicators, ``(batch, classes)``."""
        if y.is_floating_point() or y.ndim != 1:
            raise DataError(f"labels must be a long tensor of shape (batch,); got {y.dtype} of shape {tuple(y.shape)}")
        return F.one_hot(y, self.features).to(self.probs.dtype)

    def hidden(self, y: Tensor) -> None:
        """A label gives away no pixel."""

    def draw(self, n: int) -> Tensor:
        """Labels from p(y), ``long (n,)``."""
        return torch.multinomial(self.probs, n, replacement=True)

    def log_prob(self, y: Tensor) -> Tensor:
        """Log p(y) in nats, ``(batch,)``."""
        return self.probs.log()[y]


class Attributes(nn.Module):
    """A real vector of attributes, ``(batch, features)``."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, y: Tensor) -> Tensor:
        """The vector as it is."""
        return at_least_float32(y) if y.is_floating_point() else y.to(torch.get_default_dtype())

    def hidden(self, y: Tensor) -> None:
        """Attributes give away no pixel."""


class PartialImage(nn.Module):
    """A part of the image: y has the shape of x and is NaN where nothing was observed."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.features = 2 * prod(shape)

    def forward(self, y: Tensor) -> Tensor:
        """The observed values (0 elsewhere) beside the mask of what is observed."""
        return torch.cat([y.nan_to_num(0.0), (~y.isnan()).to(y)], 1).flatten(1)

    def hidden(self, y: Tensor) -> Tensor:
        """True where y is NaN."""
        return y.isnan()


QUADRANTS = ("lower left", "upper left", "lower right", "upper right")


def observe_quadrants(x: Tensor, observed: int = 1) -> Tensor:
    """Hide all of each image but its first ``observed`` quadrants, in the order of ``QUADRANTS``.

    Args:
        x: images ``(batch, channel, height, width)``.
        observed: 1, 2 or 3.

    Returns:
        The images with NaN where they are hidden.
    """
    if observed not in (1, 2, 3):
        raise DataError(f"1, 2 or 3 quadrants can be observed; got {observed}")
    h, w = x.shape[-2] // 2, x.shape[-1] // 2
    rows, columns = (slice(None, h), slice(h, None)), (slice(None, w), slice(w, None))
    areas = ((rows[1], columns[0]), (rows[0], columns[0]), (rows[1], columns[1]), (rows[0], columns[1]))
    y = torch.full_like(x, torch.nan)
    for i, j in areas[:observed]:
        y[..., i, j] = x[..., i, j]
    return y
