"""What a pilot run finds out for the chains of some data: temperatures, step sizes and covariances.

The transitions of the final run are then fixed, as an unbiased estimate of p(x) needs. Temperatures are spaced equally
in thermodynamic length, for which the variance of the log-weights is least for their number:

    length(β) = ∫_0^β std_{f_b}[log p(x, u) - log q(u)] db

Gelman and Meng, "Simulating normalizing constants", 1998; Grosse, Maddison and Salakhutdinov, "Annealing between
distributions by averaging moments", 2013.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from math import log10, pi

import torch
from torch import Tensor

from pyrogen.measure.annealing.path import Rows, curvature
from pyrogen.measure.annealing.resampling import resample
from pyrogen.pyro_tools.hmc import Point, transition

PILOT = 50
"""Temperatures of a pilot run."""
LEAPFROG = 3
"""Leapfrog steps of a transition; the covariances make one enough where the posterior is Gaussian."""
ACCEPTANCE = 0.7
"""The acceptance to which step sizes are adapted, that of the fastest transitions of a few leapfrog steps."""
EVERY = 5
"""Temperatures of the pilot run from one estimate of the covariances to the next."""
LEAST_CURVATURE = -0.9
"""The least eigenvalue of H, above -1 so that I + β H is positive definite."""
MOST_DIMENSIONS = 64
"""The most latent coordinates with covariances; with more the transitions move in the coordinates as they are."""


@dataclass(frozen=True)
class Schedule:
    """Temperatures and the thermodynamic length up to each of them.

    Args:
        betas: 0 = β_0 < … < β_T = 1, float64.
        length: non-decreasing from 0, with as many values.
    """

    betas: Tensor
    length: Tensor

    def spaced(self, steps: int) -> "Schedule":
        """``steps + 1`` temperatures at equal distances in length."""
        at = torch.linspace(0, 1, steps + 1, dtype=torch.float64) * self.length[-1]
        right = torch.searchsorted(self.length, at).clamp(1, len(self.length) - 1)
        low, high = self.length[right - 1], self.length[right]
        share = ((at - low) / (high - low).clamp_min(1e-300)).clamp(0, 1)
        betas = self.betas[right - 1] + share * (self.betas[right] - self.betas[right - 1])
        betas[0], betas[-1] = 0.0, 1.0
        return Schedule(betas, at)


@dataclass(frozen=True)
class Plan:
    """The transitions of the chains of some data at every temperature.

    Args:
        schedule: the temperatures.
        knots: the temperatures of the pilot run, in ascending order.
        sizes: the step size of each datum at the knots, ``(knots, n)``.
        curvatures: eigenvalues and eigenvectors of the information about v of each datum, ``(n, d)`` and
            ``(n, d, d)``, at every ``EVERY`` knots; none above ``MOST_DIMENSIONS``.
    """

    schedule: Schedule
    knots: Tensor
    sizes: Tensor
    curvatures: tuple[tuple[Tensor, Tensor], ...]

    def with_steps(self, steps: int, schedule: Schedule | None = None) -> "Plan":
        """The plan with another number of temperatures, of ``schedule`` if given."""
        return replace(self, schedule=(schedule or self.schedule).spaced(steps))

    def part(self, rows: slice) -> "Plan":
        """The plan of some of the data."""
        curvatures = tuple((values[rows], vectors[rows]) for values, vectors in self.curvatures)
        return replace(self, sizes=self.sizes[:, rows], curvatures=curvatures)

    def size(self, beta: float) -> Tensor:
        """The step size of each datum, ``(n,)``."""
        return self.sizes[self._knot(beta)]

    def factor(self, beta: float) -> Tensor | None:
        """A of each datum, ``(n, d, d)``, with A Aᵀ = (I + β H)⁻¹; ``None`` above ``MOST_DIMENSIONS``."""
        if not self.curvatures:
            return None
        return scaled(self.curvatures[min(self._knot(beta) // EVERY, len(self.curvatures) - 1)], beta)

    def _knot(self, beta: float) -> int:
        return int(torch.searchsorted(self.knots, beta).clamp(max=len(self.knots) - 1))


def scaled(curvature: tuple[Tensor, Tensor], beta: float) -> Tensor:
    """``V (1 + β Λ)^(-1/2)`` of the eigenvalues and eigenvectors of H."""
    values, vectors = curvature
    return vectors * (1 + beta * values).rsqrt()[:, None]


def pilot(rows: Rows, schedule: Schedule | None = None) -> tuple[Plan, Point, Tensor]:
    """Run the chains once, and adapt step sizes and covariances to them.

    Args:
        rows: the chains.
        schedule: the temperatures; by default in geometric progression from the one at which the log-weights have a
            standard deviation of 1.

    Returns:
        The plan, whose schedule has the length found; the chains at β = 1; and their log-weights, ``(n, chains)``.
    """
    n, terms = len(rows.x), rows.terms
    with torch.no_grad():
        point = Point.at(rows.draw(), terms)
    spreads = [_spread(point, n)]
    betas = _geometric(spreads[0]) if schedule is None else schedule.spaced(PILOT).betas
    size = torch.full((n,), 0.5).to(point.u)
    log_weights = point.values.new_zeros(n, rows.chains, dtype=torch.float64)
    sizes: list[Tensor] = []
    found: list[tuple[Tensor, Tensor]] = []
    for t in range(1, PILOT + 1):
        beta = float(betas[t])
        log_weights = log_weights + (beta - float(betas[t - 1])) * point.values[1].double().view(n, -1)
        point, log_weights, _ = resample(point, log_weights, log_weights[:, 0])
        if (t - 1) % EVERY == 0 and rows.d <= MOST_DIMENSIONS:
            values, vectors = torch.linalg.eigh(curvature(rows, point))
            found.append((values.clamp_min(LEAST_CURVATURE), vectors))
        factor = scaled(found[-1], beta) if found else None
        weights = point.values.new_tensor([[1.0], [beta]])
        point, accepted = transition(terms, point, weights, size.repeat_interleave(rows.chains), LEAPFROG, factor)
        size = (size * (accepted.view(n, -1).mean(1) - ACCEPTANCE).exp()).clamp(1e-6, pi / (2 * LEAPFROG))
        sizes.append(size)
        spreads.append(_spread(point, n))
    between = torch.tensor([(low + high) / 2 for low, high in pairwise(spreads)])
    length = torch.cat([torch.zeros(1), ((betas[1:] - betas[:-1]) * between).cumsum(0)])
    plan = Plan(Schedule(betas, length), betas[1:].contiguous(), torch.stack(sizes), tuple(found))
    return plan, point, log_weights


def _spread(point: Point, n: int) -> float:
    """The standard deviation of the second term over the chains of a datum, the median over data."""
    return float(point.values[1].view(n, -1).double().std(1).median())


def _geometric(spread: float) -> Tensor:
    smallest = min(1 / max(spread, 1e-12), 0.1)
    return torch.cat([torch.zeros(1), torch.logspace(log10(smallest), 0, PILOT)]).double()
