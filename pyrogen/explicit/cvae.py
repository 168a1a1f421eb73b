"""The conditional variational autoencoder.

    p(z | y) = N(μ(y), diag σ²(y))  or  N(0, I)
    p(x | z, y) = likelihood(decoder(z, y))      q(z | x, y) = N(μ(x, y), diag σ²(x, y))

Sohn, Lee and Yan, "Learning structured output representation using deep conditional generative
models", NeurIPS 2015. Where y is a part of the image, p covers the hidden part only.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigError, unknown
from pyrogen.explicit.conditions import Condition, Label
from pyrogen.explicit.likelihoods import BernoulliLikelihood, Likelihood
from pyrogen.nn.mlp import mlp
from pyrogen.nn.modes import evaluating

PRIORS = ("learned", "standard")


class CVAE(nn.Module):
    """A conditional variational autoencoder as a Pyro pair; y enters prior, encoder and decoder.

    Args:
        shape: the shape of one datum.
        condition: what y is: ``Label(10)``, ``Attributes(40)``, ``PartialImage(shape)``.
        latent: the dimension of z.
        hidden: the widths of the encoder's hidden layers; the decoder mirrors them.
        likelihood: the observation model p(x | z, y).
        prior: ``learned`` for p(z | y) by a network of its own, ``standard`` for N(0, I).
        mean: the mean of the data, ``shape``: the decoder starts from it.

    Raises:
        ConfigError: for an unknown prior.
    """

    def __init__(
        self,
        shape: Sequence[int],
        condition: Condition,
        latent: int = 32,
        hidden: Sequence[int] = (512, 512),
        likelihood: Likelihood | None = None,
        prior: str = "learned",
        mean: Tensor | None = None,
    ) -> None:
        super().__init__()
        if prior not in PRIORS:
            raise unknown("prior", prior, PRIORS)
        self.shape, self.latent = tuple(shape), latent
        self.condition = condition
        self.likelihood = likelihood or BernoulliLikelihood()
        out = (self.likelihood.outputs * self.shape[0], *self.shape[1:])
        dims, known = prod(self.shape), condition.features
        self.prior_network = mlp(known, hidden[-1:], 2 * latent) if prior == "learned" else None
        self.encoder = mlp(dims + known, hidden, 2 * latent)
        self.decoder = nn.Sequential(mlp(latent + known, hidden[::-1], prod(out)), nn.Unflatten(1, out))
        start = torch.zeros(out) if mean is None else self.likelihood.link(mean)
        self.offset = nn.Parameter(start.clone())

    def prior(self, y: Tensor) -> Any:
        """p(z | y)."""
        if self.prior_network is None:
            zero = self.offset.new_zeros(len(y), self.latent)
            return dist.Normal(zero, torch.ones_like(zero), validate_args=False).to_event(1)
        return _normal(self.prior_network(self.condition(y)))

    def posterior(self, x: Tensor, y: Tensor) -> Any:
        """q(z | x, y)."""
        return _normal(self.encoder(torch.cat([x.flatten(1), self.condition(y)], 1)))

    def hidden(self, z: Tensor, y: Tensor) -> Tensor:
        """The decoder's output h, from which the likelihood makes p(x | z, y)."""
        h: Tensor = self.decoder(torch.cat([z, self.condition(y)], 1)).float() + self.offset
        return h

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(x, z | y) over a batch ``(batch, *shape)`` with side information of as many rows."""
        y = self._given(y)
        pyro.module("cvae", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior(y))
            likelihood = self.likelihood(self.hidden(z, y))
            unknown_x = self.condition.hidden(y)
            if unknown_x is not None:
                likelihood = likelihood.mask(unknown_x)
            pyro.sample("x", likelihood.to_event(len(self.shape)), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """q(z | x, y) over a batch."""
        pyro.module("cvae", self)
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x, self._given(y)))

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The posterior mean μ(x, y), ``(batch, latent)``."""
        mean: Tensor = self.posterior(x, self._given(y)).mean
        return mean

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """E[x | z, y], ``(batch, *shape)``; observed values are y's own."""
        y = self._given(y)
        return self._completed(self.likelihood.mean(self.hidden(z, y)), y)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw z ~ p(z | y), then x ~ p(x | z, y): ``(n, *shape)``.

        Args:
            n: how many.
            y: side information of ``n`` rows, or of one row for all; labels are drawn from p(y) if not given.
        """
        with evaluating(self):
            y = self._rows(n, y)
            x: Tensor = self.likelihood(self.hidden(self.prior(y).sample(), y)).sample()
            return self._completed(x, y)

    @torch.no_grad()
    def sample_mean(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw z ~ p(z | y) and give E[x | z, y]: the sample without the noise of the observation model."""
        with evaluating(self):
            y = self._rows(n, y)
            return self.decode(self.prior(y).sample(), y)

    def log_prob_label(self, y: Tensor) -> Tensor:
        """Log p(y) in nats, which turns a bound on log p(x | y) into one on log p(x).

        log p(x) = log Σ_y p(y) p(x | y) ≥ log p(y) + log p(x | y) for any y. Zero where y is no label:
        then likelihoods are of x given y.
        """
        if isinstance(self.condition, Label):
            return self.condition.log_prob(y)
        return self.offset.new_zeros(len(y))

    def _given(self, y: Tensor | None) -> Tensor:
        if y is None:
            raise ConfigError("a conditional model needs its side information: pass y beside x")
        return y

    def _rows(self, n: int, y: Tensor | None) -> Tensor:
        if y is None and isinstance(self.condition, Label):
            return self.condition.draw(n)
        y = self._given(y)
        if len(y) not in (1, n):
            raise ConfigError(f"expected side information with 1 or {n} rows; got {len(y)}")
        return y.expand(n, *y.shape[1:])

    def _completed(self, x: Tensor, y: Tensor) -> Tensor:
        unknown_x = self.condition.hidden(y)
        return x if unknown_x is None else torch.where(unknown_x, x, y)


def _normal(h: Tensor) -> Any:
    loc, log_scale = h.float().chunk(2, -1)
    return dist.Normal(loc, log_scale.exp(), validate_args=False).to_event(1)
