"""p(x | y) for y = A x + ε and any model with a decoder, by Hamiltonian Monte Carlo over its latent variables.

    log p(u | y) = log p(u) + log p(y | u) + const

For values of x that are independent given u, with mean m(u) and variance v(u), and an A whose rows have disjoint
supports,

    p(y | u) = N(y; A m(u), A² v(u) + σ²)

which is exact for Gaussian observation models, and an approximation by two moments for others. With a mask and without
noise, p(y | u) is the observation model itself.

Where several classes fit what is seen, the posterior has several modes, and few prior draws are near any: chains start
at particles that were annealed. Where a model is conditional on a label and none is given, each has one drawn from its
prior.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.measure.annealing.particles import anneal
from pyrogen.pyro_tools.decoders import Decoder
from pyrogen.pyro_tools.hmc import LogTerms, hmc
from pyrogen.pyro_tools.observation import Observation
from pyrogen.use.operators import Disjoint, Linear, Mask, adjoint

PARTICLES = 32
"""States of every datum that are annealed."""
CHAINS = 8
"""Chains of every datum, at most as many as draws."""
WARMUP, THIN, LEAPFROG = 50, 10, 10
BLOCK = 100
"""The most data that are annealed at a time, to bound the memory."""


@dataclass(frozen=True)
class Seen:
    """What is seen of data.

    Args:
        y: ``(n, *seen)``.
        operator: A.
        noise: σ.
        shape: of a datum.
    """

    y: Tensor
    operator: Linear
    noise: float
    shape: tuple[int, ...]

    def rows(self, index: Tensor) -> "Seen":
        """The chosen rows."""
        return Seen(self.y[index], self.operator, self.noise, self.shape)

    @property
    def mask(self) -> Mask | None:
        """The mask, where the seen values are values of the datum itself."""
        return self.operator if isinstance(self.operator, Mask) and not self.noise else None

    def log_prob(self, given: Observation | Tensor) -> Tensor:
        """Log p(y | u), ``(n,)``."""
        if self.mask and isinstance(given, Observation):
            return self.mask(given.log_prob(self.filled())).flatten(1).sum(1)
        mean, variance = self.moments(given)
        error = (self.y - mean).square() / variance + variance.log() + log(2 * pi)
        return -0.5 * error.flatten(1).sum(1)

    def moments(self, given: Observation | Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of y given u.

        Raises:
            ConfigError: if the variance would be 0, or A has overlapping rows and the values of x are uncertain.
        """
        if isinstance(given, Tensor):
            if not self.noise:
                raise ConfigError("a model without observation noise needs noise > 0 in what is seen")
            return self.operator(given), torch.full_like(self.y, self.noise**2)
        if not isinstance(self.operator, Disjoint):
            raise ConfigError(
                "with observation noise, the rows of A must have disjoint supports: give the operator a method "
                "squared(v), the map with squared coefficients"
            )
        return self.operator(given.mean), self.operator.squared(given.variance) + self.noise**2

    def filled(self) -> Tensor:
        """Data with the seen values in place, and 0 elsewhere; for a mask."""
        return adjoint(self.operator, self.y, self.shape)

    def complete(self, given: Observation | Tensor) -> tuple[Tensor, Tensor]:
        """A draw of x and its mean, given u and y, each ``(n, *event)``."""
        if isinstance(given, Tensor):
            return given, given
        if self.mask:
            seen, values = self.mask.seen.to(self.y.device), self.filled()
            return torch.where(seen, values, given.sample()), torch.where(seen, values, given.mean)
        mean, variance = self.moments(given)
        spread = given.variance

        def corrected(x: Tensor, seen: Tensor) -> Tensor:
            return x + spread * adjoint(self.operator, (self.y - seen) / variance, self.shape)

        x = given.mean + spread.sqrt() * torch.randn_like(spread)
        noisy = self.operator(x) + self.noise * torch.randn_like(self.y)
        return corrected(x, noisy), corrected(given.mean, mean)


def sample_posterior(
    decoder: Decoder, seen: Seen, side: Callable[[Tensor], Tensor | None], draws: int
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Draws from p(x | y), ``(n, draws, *event)``, E[x | y], ``(n, *event)``, and diagnostics.

    Args:
        decoder: the model.
        seen: what is seen.
        side: ``side(rows)``, side information for these rows of y, given or drawn from its prior; or ``None``.
        draws: for each datum.

    Raises:
        ConfigError: if p(y | u) is 0 or not finite for all first particles of a datum.
    """
    chains = min(CHAINS, draws)
    kept = -(-draws // chains)
    found = [
        _sample(decoder, seen, side, rows, chains, kept)
        for rows in torch.arange(len(seen.y), device=seen.y.device).split(BLOCK)
    ]
    x, means, acceptance = (torch.cat(parts) for parts in zip(*found, strict=True))
    return x[:, :draws], means.mean(1), {"acceptance": float(acceptance.mean()), "chains": chains}


def _sample(
    decoder: Decoder, seen: Seen, side: Callable[[Tensor], Tensor | None], rows: Tensor, chains: int, kept: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws and means given u of ``kept`` states of each chain, ``(rows, kept * chains, *event)``; and acceptances."""
    n, row = len(rows), rows.repeat_interleave(PARTICLES)
    given_y = side(row)

    def terms(origin: Tensor) -> LogTerms:
        y, many = None if given_y is None else given_y[origin], seen.rows(row[origin])

        def log_joint(u: Tensor) -> tuple[Tensor, Tensor]:
            log_prior, given = decoder.joint(u, y)
            return log_prior, many.log_prob(given)

        return log_joint

    u = decoder.draw(len(row), given_y)
    every = torch.arange(len(row), device=u.device)
    with torch.no_grad():
        possible = terms(every)(u)[1].isfinite().view(n, PARTICLES).any(1)
    if not bool(possible.all()):
        first = int(rows[~possible][0]) + 1
        raise ConfigError(f"log p(y | z) of row {first} is not finite for any of {PARTICLES} draws of z from the prior")
    particles = anneal(terms, u, PARTICLES)
    chosen = every.view(n, PARTICLES)[:, :: PARTICLES // chains][:, :chains].flatten()
    origin = particles.origin[chosen]
    log_joint = terms(origin)
    found = hmc(
        lambda u: torch.add(*log_joint(u)),
        particles.u[chosen],
        warmup=WARMUP,
        kept=kept,
        thin=THIN,
        leapfrog=LEAPFROG,
        step_size=particles.step_size[chosen],
    )
    y, many = None if given_y is None else given_y[origin], seen.rows(row[origin])
    with torch.no_grad():
        parts = [many.complete(decoder.joint(u, y)[1]) for u in found.states]
    x, means = (
        torch.stack(part).view(kept, n, chains, *seen.shape).transpose(0, 1).flatten(1, 2)
        for part in zip(*parts, strict=True)
    )
    return x, means, found.acceptance
