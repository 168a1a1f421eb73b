"""Base class of latent-variable models: a Pyro pair, encoding and sampling, from three distributions.

    p(z | y)      p(x | z, y) = likelihood(h(z, y))      q(z | x, y)

Without side information y is ``None``.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from pyrogen.explicit.likelihoods import BernoulliLikelihood, Likelihood
from pyrogen.nn.conditions import Condition, Conditional
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.nn.precision import at_least_float32


class LatentModel(Conditional, ABC):
    """A latent-variable model as a Pyro pair; a subclass defines ``prior_dist``, ``posterior_dist`` and ``decoder``.

    A learned offset is added to the decoder's output; it is initialised so that E[x] is the mean of the data.

    Args:
        shape: the shape of one datum.
        likelihood: the observation model p(x | z, y); Bernoulli by default.
        mean: the mean of the data, of ``shape``.
        condition: the kind of side information y; ``None`` for an unconditional model.
    """

    decoder: nn.Module

    def __init__(
        self,
        shape: Sequence[int],
        likelihood: Likelihood | None,
        mean: Tensor | None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition)
        self.shape = tuple(shape)
        self.likelihood = likelihood or BernoulliLikelihood()
        start = torch.zeros(self.outputs) if mean is None else self.likelihood.link(mean)
        self.offset = nn.Parameter(start.clone())

    @property
    def outputs(self) -> tuple[int, ...]:
        """The shape of the decoder's output for one datum."""
        return (self.likelihood.outputs * self.shape[0], *self.shape[1:])

    @abstractmethod
    def prior_dist(self, n: int, y: Tensor | None = None) -> Any:
        """p(z | y) for ``n`` data."""

    @abstractmethod
    def posterior_dist(self, x: Tensor, y: Tensor | None = None) -> Any:
        """q(z | x, y)."""

    def decoder_output(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The decoder's output h, the parameters of the likelihood p(x | z)."""
        h: Tensor = at_least_float32(self.decoder(z)) + self.offset
        return h

    def observation_dist(self, z: Tensor, y: Tensor | None) -> Any:
        """p(x | z, y)."""
        return self.likelihood(self.decoder_output(z, y))

    def insert_observed(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Return x with the values observed in y inserted; here y contains none."""
        return x

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(x, z | y) over a batch ``(batch, *shape)``."""
        y = self.side(x.shape[0], y)
        pyro.module("model", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior_dist(x.shape[0], y))
            pyro.sample("x", self.observation_dist(z, y).to_event(len(self.shape)), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """q(z | x, y) over a batch."""
        y = self.side(x.shape[0], y)
        pyro.module("model", self)
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior_dist(x, y))

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The posterior mean, ``(batch, latent)``."""
        mean: Tensor = self.posterior_dist(x, self.side(x.shape[0], y)).mean
        return mean

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """E[x | z, y], ``(batch, *shape)``; values of x that are observed in y are copied from y."""
        y = self.side(z.shape[0], y)
        return self.insert_observed(self.likelihood.mean(self.decoder_output(z, y)), y)

    def draw_latent(self, n: int, y: Tensor | None) -> Tensor:
        """Draw z ~ p(z | y), ``(n, latent)``."""
        z: Tensor = self.prior_dist(n, y).sample()
        return z

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw z ~ p(z | y), then x ~ p(x | z, y): ``(n, *shape)``.

        Args:
            n: the number of data.
            y: side information of ``n`` rows, or of one row for all; labels are drawn from p(y) if not given.
        """
        with eval_mode(self):
            y = self.side(n, y, draw=True)
            return self.insert_observed(self.observation_dist(self.draw_latent(n, y), y).sample(), y)

    @torch.no_grad()
    def sample_mean(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw z ~ p(z | y) and return E[x | z, y], the sample without observation noise."""
        with eval_mode(self):
            y = self.side(n, y, draw=True)
            return self.decode(self.draw_latent(n, y), y)
