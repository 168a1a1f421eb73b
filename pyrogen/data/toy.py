"""Toy densities of one or two dimensions, with known likelihood, entropy and modes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import e, log, pi
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

_CHUNK = 8192  # rows per chunk, to bound the memory


class ToyDensity(Protocol):
    """The interface of the toy densities."""

    @property
    def entropy(self) -> float:
        """``-E log p(x)`` in nats; its negative bounds the mean log-likelihood of any model."""
        ...

    @property
    def modes(self) -> Tensor | Any:  # Any for None: the caller knows whether a density has modes
        """The means of the modes, ``(k, d)``; ``None`` if the density has no separate modes."""
        ...

    @property
    def std(self) -> float | Any:
        """The standard deviation of each mode in each direction; ``None`` if there are no modes."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact ``log p(x)`` in nats of points ``(n, d)``, shape ``(n,)``, in their dtype."""
        ...

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` points ``(n, d)`` in torch's default dtype, on the generator's device."""
        ...


def _in_chunks(log_prob: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.cat([log_prob(part) for part in torch.split(x, _CHUNK)])


def _device(generator: torch.Generator | None) -> torch.device:
    return generator.device if generator else torch.device("cpu")


@dataclass(frozen=True, eq=False)
class ToyMixture:
    """A uniform mixture of Gaussians with a shared covariance: ``p(x) = 1/k Σ_i N(x; m_i, S Sᵀ)``.

    Args:
        means: the means m, ``(k, d)``, many standard deviations apart.
        scale: S, lower triangular, ``(d, d)``.
    """

    means: Tensor
    scale: Tensor

    @property
    def entropy(self) -> float:
        """``log k + d/2 log 2πe + log det S`` nats: exact for one Gaussian, and up to the overlap of several."""
        return log(len(self.means)) + len(self.scale) / 2 * log(2 * pi * e) + float(self.scale.diagonal().log().sum())

    @property
    def modes(self) -> Tensor | None:
        """The means, ``(k, d)``; ``None`` for a single Gaussian, where mode coverage is not defined."""
        return self.means.to(torch.get_default_dtype()) if len(self.means) > 1 else None

    @property
    def std(self) -> float | None:
        """The standard deviation of each mode; ``None`` for a single Gaussian."""
        return float(self.scale[0, 0]) if len(self.means) > 1 else None

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact ``log p(x)`` in nats of points ``(n, d)``, shape ``(n,)``."""
        means, whiten = self.means.to(x), torch.linalg.inv(self.scale).T.to(x)
        constant = log(len(means)) + len(whiten) / 2 * log(2 * pi) + float(self.scale.diagonal().log().sum())

        def log_prob(part: Tensor) -> Tensor:
            white = (part[:, None] - means) @ whiten
            return torch.logsumexp(-0.5 * white.square().sum(-1), dim=1) - constant

        return _in_chunks(log_prob, x)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` points, ``(n, d)``."""
        device = _device(generator)
        component = torch.randint(len(self.means), (n,), generator=generator, device=device)
        noise = torch.randn(n, len(self.scale), generator=generator, device=device)
        return self.means.to(noise)[component] + noise @ self.scale.T.to(noise)


@dataclass(frozen=True)
class Moons:
    """Two interleaved half circles of radius 1 with Gaussian noise, as in scikit-learn's ``make_moons``.

    ``p(x) = 1/2 Σ_c 1/π ∫_0^π N(x; c(t), s²I) dt`` with ``c₁(t) = (cos t, sin t)`` and
    ``c₂(t) = (1 - cos t, 1/2 - sin t)`` is computed by Gauss-Legendre quadrature: the spacing of the 128 nodes per arc
    is below the noise s = 0.05, which makes it exact to float32 precision.
    """

    noise = 0.05
    # By the midpoint rule over the plane: grids of spacing 0.02, 0.01 and 0.005 agree in all these digits.
    entropy = 0.2892337376
    modes = None
    std = None

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact ``log p(x)`` in nats of points ``(n, 2)``, shape ``(n,)``."""
        nodes, weights = np.polynomial.legendre.leggauss(128)
        t = torch.from_numpy(nodes + 1) * (pi / 2)
        centres = torch.cat([_upper(t), _lower(t)]).to(x)
        log_weights = torch.from_numpy(np.log(weights / 4)).repeat(2).to(x)
        constant = log(2 * pi * self.noise**2)

        def log_prob(part: Tensor) -> Tensor:
            square = (part[:, None, 0] - centres[:, 0]).square() + (part[:, None, 1] - centres[:, 1]).square()
            return torch.logsumexp(log_weights - square / (2 * self.noise**2), dim=1) - constant

        return _in_chunks(log_prob, x)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` points, ``(n, 2)``."""
        device = _device(generator)
        t = torch.rand(n, generator=generator, device=device) * pi
        upper = torch.rand(n, 1, generator=generator, device=device) < 0.5
        noise = torch.randn(n, 2, generator=generator, device=device)
        return torch.where(upper, _upper(t), _lower(t)) + self.noise * noise


def _upper(t: Tensor) -> Tensor:
    return torch.stack([t.cos(), t.sin()], dim=-1)


def _lower(t: Tensor) -> Tensor:
    return torch.stack([1 - t.cos(), 0.5 - t.sin()], dim=-1)


@dataclass(frozen=True)
class Checkerboard:
    """Uniform on the eight dark squares, of side 2, of a 4 x 4 board on [-4, 4]²."""

    entropy = log(32)
    modes = None
    std = None

    def log_prob(self, x: Tensor) -> Tensor:
        """``-log 32`` nats on a dark square and ``-inf`` elsewhere, shape ``(n,)``."""
        square = (x / 2).floor()
        on_dark_square = (square.sum(1) % 2 == 0) & (square >= -2).all(1) & (square < 2).all(1)
        return torch.where(on_dark_square, -self.entropy, -torch.inf).to(x.dtype)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` points, ``(n, 2)``."""
        device = _device(generator)
        column = torch.randint(-2, 2, (n,), generator=generator, device=device)
        row = 2 * torch.randint(-1, 1, (n,), generator=generator, device=device) + column % 2
        # Below 1, so that no sum rounds up into the next, light square.
        inside = torch.rand(n, 2, generator=generator, device=device).clamp_(max=1 - 2**-20)
        return 2 * (torch.stack([column, row], dim=1) + inside)


def ring() -> ToyMixture:
    """Eight Gaussians of standard deviation 0.01 on the unit circle."""
    t = torch.arange(8) * (pi / 4)
    return ToyMixture(_upper(t), 0.01 * torch.eye(2))


def grid() -> ToyMixture:
    """Twenty-five Gaussians of standard deviation 0.05 at {-4, -2, 0, 2, 4}²."""
    ticks = torch.tensor([-4.0, -2.0, 0.0, 2.0, 4.0])
    return ToyMixture(torch.cartesian_prod(ticks, ticks), 0.05 * torch.eye(2))


def line() -> ToyMixture:
    """Five Gaussians of standard deviation 0.25 at -4, -2, 0, 2 and 4, in one dimension."""
    return ToyMixture(torch.tensor([[-4.0], [-2.0], [0.0], [2.0], [4.0]]), torch.tensor([[0.25]]))


def gaussian() -> ToyMixture:
    """One Gaussian with standard deviations 2 and 1 and correlation 0.8."""
    return ToyMixture(torch.zeros(1, 2), torch.tensor([[2.0, 0.0], [0.8, 0.6]]))


TOYS: Mapping[str, Callable[[], ToyDensity]] = {
    "ring": ring,
    "grid": grid,
    "line": line,
    "moons": Moons,
    "checkerboard": Checkerboard,
    "gaussian": gaussian,
}
"""The toy densities by name."""
