"""What is seen of a datum: y = A x + ε, with A linear and ε ~ N(0, σ² I).

Completion, super-resolution, colourisation and denoising differ in A alone. Any callable that is linear in a batch
``(n, *event)`` is an operator; those here have rows with disjoint supports, so that values of y are independent given
independent values of x.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from pyrogen.errors import ConfigError, DataError

Linear = Callable[[Tensor], Tensor]
"""``A(x) -> y`` for ``x (n, *event)``, linear in each row."""


@runtime_checkable
class Disjoint(Protocol):
    """An operator whose rows have disjoint supports."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """A x, ``(n, *seen)``."""
        ...

    def squared(self, v: Tensor, /) -> Tensor:
        """The map with squared coefficients: the variance of A x, if v is that of independent x."""
        ...


@dataclass(frozen=True, eq=False)
class Mask:
    """The values of a datum that are seen.

    Args:
        seen: true where a value is seen, ``bool (*event)``; at least one is.
    """

    seen: Tensor

    def __post_init__(self) -> None:
        if self.seen.dtype != torch.bool or not bool(self.seen.any()):
            raise ConfigError("a mask is a bool tensor of the shape of a datum, true for at least one seen value")

    def __call__(self, x: Tensor) -> Tensor:
        """The seen values, ``(n, seen)``."""
        if x.shape[1:] != self.seen.shape:
            raise DataError(f"the mask has shape {tuple(self.seen.shape)}, the data {tuple(x.shape[1:])}")
        return x[:, self.seen.to(x.device)]

    def squared(self, v: Tensor) -> Tensor:
        """The seen values."""
        return self(v)


@dataclass(frozen=True)
class Downsample:
    """The means of square blocks of pixels.

    Args:
        factor: the width of a block; height and width of the images are multiples of it.
    """

    factor: int

    def __call__(self, x: Tensor) -> Tensor:
        """Images ``(n, channel, height / factor, width / factor)``."""
        if x.ndim != 4 or self.factor < 1 or x.shape[2] % self.factor or x.shape[3] % self.factor:
            raise DataError(
                f"downsampling by {self.factor} needs images whose height and width are multiples of it; got data of "
                f"shape {tuple(x.shape[1:])}"
            )
        return F.avg_pool2d(x, self.factor)

    def squared(self, v: Tensor) -> Tensor:
        """The mean of a block divided by its number of pixels."""
        return self(v) / self.factor**2


@dataclass(frozen=True)
class Grey:
    """The mean of the channels."""

    def __call__(self, x: Tensor) -> Tensor:
        """Images ``(n, 1, height, width)``."""
        if x.ndim != 4:
            raise DataError(f"grey images are made of images (channel, height, width); got {tuple(x.shape[1:])}")
        return x.mean(1, keepdim=True)

    def squared(self, v: Tensor) -> Tensor:
        """The mean of the channels divided by their number."""
        return self(v) / v.shape[1]


@dataclass(frozen=True)
class Noise:
    """The datum itself: what is seen differs from it by noise alone."""

    def __call__(self, x: Tensor) -> Tensor:
        """The data."""
        return x

    def squared(self, v: Tensor) -> Tensor:
        """The variances."""
        return v


def matrix(operator: Linear, like: Tensor) -> Tensor:
    """A as a matrix in float64, ``(seen, d)``.

    Args:
        operator: A.
        like: one datum, of which the shape is taken, ``(*event)``.

    Raises:
        ConfigError: if the operator is not linear.
    """
    basis = torch.eye(like.numel(), device=like.device, dtype=torch.float64).view(-1, *like.shape)
    columns = operator(basis).flatten(1)
    check_linear(operator, like)
    return columns.T


def check_linear(operator: Linear, like: Tensor) -> None:
    """Raise ``ConfigError`` unless A(x + 2 x') = A(x) + 2 A(x') for two random data."""
    draws = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 1, *like.shape, generator=draws, dtype=torch.float64).to(like.device)
    if not torch.allclose(operator(a + 2 * b), operator(a) + 2 * operator(b), rtol=1e-5, atol=1e-6):
        raise ConfigError("the operator is not linear: A(x + 2 x') differs from A(x) + 2 A(x')")


def adjoint(operator: Linear, y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Aᵀ y, ``(n, *shape)``, by the derivative of A."""
    with torch.enable_grad():
        x = y.new_zeros(len(y), *shape, requires_grad=True)
        (found,) = torch.autograd.grad(operator(x), x, y)
    return found
