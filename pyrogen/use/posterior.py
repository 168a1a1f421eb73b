"""p(x | y) for y = A x + ε and any model with a decoder, by Hamiltonian Monte Carlo over its latent variables.

    log p(u | y) = log p(u) + log p(y | u) + const

For values of x that are independent given u, with mean m(u) and variance v(u), and an A whose rows have disjoint
supports,

    p(y | u) = N(y; A m(u), A² v(u) + σ²)

which is exact for Gaussian observation models, and an approximation by two moments for others. With a mask and without
noise, p(y | u) is the observation model itself. Chains start at prior draws, chosen in proportion to p(y | u).
"""

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.pyro_tools.decoders import Decoder
from pyrogen.pyro_tools.hmc import hmc
from pyrogen.pyro_tools.observation import Observation
from pyrogen.use.operators import Disjoint, Linear, Mask, adjoint

STARTS = 500
"""Prior draws among which the chains of every datum start."""
CHAINS = 8
"""Chains of every datum, at most as many as draws."""
WARMUP, THIN, LEAPFROG = 150, 10, 10


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
    decoder: Decoder, seen: Seen, side: Tensor | None, draws: int, warmup: int = WARMUP
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Draws from p(x | y), ``(n, draws, *event)``, E[x | y] and diagnostics.

    Args:
        decoder: the model.
        seen: what is seen.
        side: side information of a conditional model, ``n`` rows.
        draws: for each datum.
        warmup: transitions before the first draw.
    """
    n, chains = len(seen.y), min(CHAINS, draws)
    kept = -(-draws // chains)
    row = torch.arange(n, device=seen.y.device).repeat_interleave(chains)
    many, y = seen.rows(row), None if side is None else side[row]

    def log_density(u: Tensor) -> Tensor:
        log_prior, given = decoder.joint(u, y)
        return log_prior + many.log_prob(given)

    found = hmc(
        log_density, _starts(decoder, seen, side, chains), warmup=warmup, kept=kept, thin=THIN, leapfrog=LEAPFROG
    )
    with torch.no_grad():
        parts = [many.complete(decoder.joint(u, y)[1]) for u in found.states]
    x, means = (
        torch.stack(part).view(kept, n, chains, *seen.shape).transpose(0, 1).flatten(1, 2)
        for part in zip(*parts, strict=True)
    )
    detail = {"acceptance": float(found.acceptance.mean()), "chains": chains}
    return x[:, :draws], means.mean(1), detail


@torch.no_grad()
def _starts(decoder: Decoder, seen: Seen, side: Tensor | None, chains: int) -> Tensor:
    """First states, chosen among prior draws in proportion to p(y | u), ``(n * chains, size)``.

    Raises:
        ConfigError: if p(y | u) is 0 or NaN for all of them.
    """
    starts = []
    for i in range(len(seen.y)):
        one = seen.rows(torch.full((STARTS,), i, device=seen.y.device))
        y = None if side is None else side[i : i + 1].expand(STARTS, *side.shape[1:])
        u = decoder.draw(STARTS, y)
        weight = one.log_prob(decoder.joint(u, y)[1])
        weight = weight.where(weight.isfinite(), -torch.inf)
        if bool(weight.max() == -torch.inf):
            raise ConfigError(
                f"log p(y | z) of row {i + 1} is not finite for any of {STARTS} draws of z from the prior"
            )
        starts.append(u[torch.multinomial((weight - weight.max()).exp() + 1e-30, chains, replacement=True)])
    return torch.cat(starts)
