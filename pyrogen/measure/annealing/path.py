"""The geometric path from a distribution of latent coordinates to the posterior of a datum.

    log f_β(v) = log q(v) + β [log p(x, v) - log q(v)],    f_0 = q,  f_1 = p(x, ·),  ∫ f_1 dv = p(x)

The coordinates v = (u - centre) / scale have about unit variance under q. q is the prior, and then the second term is
β log p(x | u); or N(0, I) with the centre and the scale of the encoder's codes of each datum.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import log, pi
from typing import Self

import torch
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.pyro_tools.decoders import Decoder
from pyrogen.pyro_tools.hmc import LogTerms, Point
from pyrogen.pyro_tools.observation import Observation

DRAWS = 1000
"""Draws of the prior from which its centre and scale are found."""
WIDER = 1.2
"""The scale of q about an encoder's codes, in their standard deviations."""
DIFFERENCE = 0.05
"""The half-width of the differences that approximate derivatives of the decoder, in units of v."""


@dataclass(frozen=True)
class Rows:
    """The chains of some data under a decoder; the chains of a datum are consecutive.

    Args:
        decoder: the model.
        x: the data, ``(n, *event)``.
        y: side information with as many rows.
        chains: of every datum.
        noise: σ of the Gaussian noise that is added to what the model generates, in model coordinates.
        centre, scale: of the coordinates v, each ``(n, d)`` or ``(1, d)``.
        precision: that of the prior over v, about 1 if q is the prior, of the shape of the scale.
        from_prior: whether q is the prior.
    """

    decoder: Decoder
    x: Tensor
    y: Tensor | None
    chains: int
    noise: float
    centre: Tensor
    scale: Tensor
    precision: Tensor
    from_prior: bool = True

    @classmethod
    def of(
        cls,
        decoder: Decoder,
        x: Tensor,
        y: Tensor | None = None,
        *,
        chains: int,
        noise: float = 0.0,
        codes: Tensor | None = None,
    ) -> Self:
        """Rows with the coordinates of the prior, or of an encoder's codes of the data.

        Args:
            decoder, x, y, chains, noise: as above.
            codes: draws of the posterior's approximation, ``(draws, n, d)``; without them q is the prior.
        """
        with torch.no_grad():
            side = None if y is None else y[torch.arange(DRAWS, device=y.device) % len(y)]
            prior = decoder.draw(DRAWS, side)
        centre, scale = prior.mean(0, keepdim=True), prior.std(0, keepdim=True).clamp_min(1e-6)
        if codes is None:
            return cls(decoder, x, y, chains, noise, centre, scale, torch.ones_like(scale))
        spread = WIDER * codes.std(0).clamp_min(1e-4)
        return cls(decoder, x, y, chains, noise, codes.mean(0), spread, (spread / scale).square(), False)

    def with_chains(self, chains: int) -> Self:
        """The same data with another number of chains."""
        return replace(self, chains=chains)

    def part(self, rows: slice) -> Self:
        """The chains of some of the data, in the same coordinates."""
        y = None if self.y is None else self.y[rows]
        each = {name: getattr(self, name) for name in ("centre", "scale", "precision")}
        each = {name: t if len(t) == 1 else t[rows] for name, t in each.items()}
        return replace(self, x=self.x[rows], y=y, **each)

    @property
    def d(self) -> int:
        """The number of latent coordinates."""
        return self.scale.shape[1]

    @cached_property
    def terms(self) -> LogTerms:
        """``log q(v)`` and ``log p(x, v) - log q(v)``, in nats."""
        x, y = self._repeat(self.x), None if self.y is None else self._repeat(self.y)
        log_scale = self._repeat(self.scale.log().sum(1))

        def terms(v: Tensor) -> tuple[Tensor, Tensor]:
            log_prior, given = self.decoder.joint(self.decoded(v), y)
            log_given, log_prior = log_likelihood(given, x, self.noise), log_prior + log_scale
            if self.from_prior:
                return log_prior, log_given
            log_q = -0.5 * (v.square() + log(2 * pi)).sum(1)
            return log_q, log_prior + log_given - log_q

        return terms

    def draw(self) -> Tensor:
        """Draw v ~ q for every chain, ``(n * chains, d)``."""
        many = len(self.x) * self.chains
        if not self.from_prior:
            return torch.randn(many, self.d, device=self.scale.device, dtype=self.scale.dtype)
        return self.encoded(self.decoder.draw(many, None if self.y is None else self._repeat(self.y)))

    def decoded(self, v: Tensor) -> Tensor:
        """The latent coordinates u of every chain, or of one chain for each datum."""
        return self._repeat(self.centre, len(v)) + self._repeat(self.scale, len(v)) * v

    def encoded(self, u: Tensor) -> Tensor:
        """The inverse of ``decoded``."""
        return (u - self._repeat(self.centre, len(u))) / self._repeat(self.scale, len(u))

    def _repeat(self, t: Tensor, many: int | None = None) -> Tensor:
        """A row for every chain, of one for every datum or of one for all."""
        return t if len(t) == 1 else t.repeat_interleave((many or len(self.x) * self.chains) // len(t), 0)


def log_likelihood(given: Observation | Tensor, x: Tensor, noise: float = 0.0) -> Tensor:
    """Log p(x | u) in nats, ``(n,)``, with Gaussian noise of deviation ``noise`` added to the model's own.

    Raises:
        ConfigError: for a decoder without observation noise and ``noise`` 0; or as ``Observation.convolved_log_prob``.
    """
    if isinstance(given, Observation):
        values = given.convolved_log_prob(x, noise) if noise else given.log_prob(x)
        return values.flatten(1).sum(1)
    if not noise:
        raise ConfigError("a model without an observation model has a density only with noise > 0")
    squares = (x - given).square().flatten(1)
    return -0.5 * (squares.sum(1) / noise**2 + squares.shape[1] * (log(2 * pi) + 2 * log(noise)))


@torch.no_grad()
def curvature(rows: Rows, point: Point) -> Tensor:
    """The information about v in the second term of the path, at the likeliest chain of each datum, ``(n, d, d)``.

    H = Jᵀ V⁻¹ J + P - I,   J = dE[x | v] / dv,   V = Var[x | v],   P the precision of the prior if q is not it

    The derivatives are approximated by differences.
    """
    n, d = len(rows.x), rows.d
    best = point.values.sum(0).view(n, rows.chains).argmax(1)
    v = point.u.view(n, rows.chains, d)[torch.arange(n, device=best.device), best]

    def standardised(v: Tensor) -> Tensor:
        given = rows.decoder.joint(rows.decoded(v), rows.y)[1]
        if isinstance(given, Tensor):
            return given.flatten(1) / rows.noise
        return (given.mean / (given.variance + rows.noise**2).clamp_min(1e-12).sqrt()).flatten(1)

    shifts = DIFFERENCE * torch.eye(d, device=v.device, dtype=v.dtype)
    jacobian = torch.stack([(standardised(v + h) - standardised(v - h)) / (2 * DIFFERENCE) for h in shifts], 2)
    return jacobian.mT @ jacobian + torch.diag_embed((rows.precision - 1).expand(n, d))
