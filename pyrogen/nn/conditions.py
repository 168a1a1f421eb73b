"""Side information y of a conditional model: a label, a vector of attributes, a part of the image.

A model is conditional or not by one attribute, ``condition``: it turns y into features that the model's networks take
as further inputs, and is ``None`` in an unconditional model.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError, DataError
from pyrogen.nn.precision import at_least_float32
from pyrogen.summary import SummarisedModel


class Condition(Protocol):
    """How side information enters a network.

    ``features`` is the length of what ``forward(y)`` gives, ``(batch, features)``; ``unobserved(y)`` says which
    values of x are not already given by y (``None``: all of them).
    """

    features: int

    def __call__(self, y: Tensor, /) -> Tensor:
        """The features of y, ``(batch, features)``."""
        ...

    def unobserved(self, y: Tensor, /) -> Tensor | None:
        """A mask of the shape of x, true where x is unknown; ``None`` where y gives away none of x."""
        ...


def feature_count(condition: Condition | None) -> int:
    """The number of features that side information adds to a network's input; 0 without a condition."""
    return 0 if condition is None else condition.features


class Label(nn.Module):
    """A class label, ``long (batch,)``, as one of ``classes`` indicators.

    Args:
        classes: how many classes there are.
        weights: their relative frequencies, as in ``set_frequencies``; equal by default.

    Attributes:
        probs: p(y), ``(classes,)``.
    """

    probs: Tensor

    def __init__(self, classes: int, weights: Tensor | None = None) -> None:
        super().__init__()
        self.features = classes
        self.register_buffer("probs", torch.full((classes,), 1 / classes))
        if weights is not None:
            self.set_frequencies(weights)

    def set_frequencies(self, weights: Tensor) -> None:
        """Set p(y) in proportion to ``weights (classes,)``, e.g. the counts of the training data.

        Probabilities are floored at 1e-6, so that a class without training data is not impossible.
        """
        probs = weights.to(self.probs)
        probs = (probs / probs.sum()).clamp_min(1e-6)
        self.probs.copy_(probs / probs.sum())

    def forward(self, y: Tensor) -> Tensor:
        """One-hot indicators, ``(batch, classes)``."""
        if y.is_floating_point() or y.ndim != 1:
            raise DataError(f"labels must be a long tensor of shape (batch,); got {y.dtype} of shape {tuple(y.shape)}")
        return F.one_hot(y, self.features).to(self.probs.dtype)

    def unobserved(self, y: Tensor) -> None:
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

    def unobserved(self, y: Tensor) -> None:
        """Attributes give away no pixel."""


class PartialImage(nn.Module):
    """A part of the image: y has the shape of x and is NaN where nothing was observed."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.features = 2 * prod(shape)

    def forward(self, y: Tensor) -> Tensor:
        """The observed values (0 elsewhere) beside the mask of what is observed."""
        return torch.cat([y.nan_to_num(0.0), (~y.isnan()).to(y)], 1).flatten(1)

    def unobserved(self, y: Tensor) -> Tensor:
        """True where y is NaN."""
        return y.isnan()


METHODS = ("model", "marginal", "guide", "log_prob", "sample", "sample_mean", "encode", "decode", "reconstruct")
"""The methods of a model that may take y as their second argument."""


class Conditional(SummarisedModel):
    """A model that is conditional if it has a ``condition``; an unconditional model refuses side information.

    Args:
        condition: what y is; ``None`` for an unconditional model.

    Attributes:
        takes: how many arguments methods are to be given by a caller that has ``(x, y)`` at hand: of an
            unconditional model, x alone.
    """

    def __init__(self, condition: Condition | None = None) -> None:
        super().__init__()
        self.condition = condition

    @property
    def takes(self) -> Mapping[str, int]:
        """``{method: number of arguments}``, where it is fewer than the signature has."""
        return dict.fromkeys(METHODS, 1) if self.condition is None else {}

    def side(self, n: int, y: Tensor | None, draw: bool = False) -> Tensor | None:
        """The side information of ``n`` data: one row holds for all.

        Args:
            n: the number of data.
            y: 1 or ``n`` rows; ``None`` if none is given.
            draw: whether missing labels are drawn from p(y).

        Returns:
            y with ``n`` rows; ``None`` for an unconditional model.

        Raises:
            ConfigError: if an unconditional model is given y, a conditional one lacks it, or y has another number of
                rows.
        """
        if self.condition is None:
            if y is not None:
                raise ConfigError(
                    f"this {type(self).__name__} is unconditional: pass x alone; got side information y of shape "
                    f"{tuple(y.shape)}"
                )
            return None
        if y is None and draw and isinstance(self.condition, Label):
            return self.condition.draw(n)
        if y is None:
            raise ConfigError(
                f"this {type(self).__name__} is conditional: pass its side information y; expected 1 or {n} rows"
            )
        if y.shape[0] not in (1, n):
            raise ConfigError(f"expected side information with 1 or {n} rows; got {y.shape[0]}")
        return y.expand(n, *y.shape[1:])

    def condition_features(self, y: Tensor | None) -> Tensor | None:
        """The features of y, ``(n, features)``; ``None`` for an unconditional model."""
        return None if self.condition is None or y is None else self.condition(y)


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
