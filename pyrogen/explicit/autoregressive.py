"""Autoregressive densities: the chain rule, with all conditionals computed by one masked network.

p(x) = Π_i p(x_i | x_1 … x_{i-1})    or, given side information y,    p(x | y) = Π_i p(x_i | x_1 … x_{i-1}, y)
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.explicit.likelihoods import Likelihood
from pyrogen.explicit.mixture_likelihood import MixtureLikelihood
from pyrogen.explicit.tractable_density import TractableDensity
from pyrogen.nn.conditions import Condition, feature_count
from pyrogen.nn.masked import MaskedMLP


class AutoregressiveDensity(TractableDensity):
    """Base class of autoregressive densities; ``network`` computes the parameters of the conditionals.

    Args:
        shape: the shape of one datum.
        likelihood: p(x_i | h_i) of one value.
        network: maps standardised data ``(batch, *event)``, and the features of y if there is a condition, to the
            parameters h of all conditionals.
        mean, scale: location and scale of the standardisation, each of ``shape``; 0 and 1 by default. If the
            likelihood has a fixed range (a mass, grey levels), only the input of the network is standardised.
        condition: the kind of side information y; ``None`` for an unconditional density.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        likelihood: Likelihood,
        network: nn.Module,
        mean: Tensor | None = None,
        scale: Tensor | None = None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition)
        self.shape, self.likelihood, self.network = tuple(shape), likelihood, network
        self.probability = likelihood.probability
        self.standardises = self.probability == "density" and not getattr(likelihood, "levels", 0)
        self.register_buffer("mean", torch.zeros(self.shape) if mean is None else mean.clone())
        self.register_buffer("scale", torch.ones(self.shape) if scale is None else scale.clone())

    def conditionals(self, x: Tensor, y: Tensor | None = None) -> Any:
        """The conditionals p(x_i | x_1 … x_{i-1}, y) of all i; of standardised values if ``standardises``."""
        c = self.condition_features(self.side(x.shape[0], y))
        h = self.network((x - self.mean) / self.scale, *(() if c is None else (c,)))
        return self.likelihood(h.to(x.dtype))  # the network may run in mixed precision

    def _log_prob(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Sum the log-probabilities of the conditionals."""
        value = (x - self.mean) / self.scale if self.standardises else x
        each = self.conditionals(x, y)
        log_prob: Tensor = each.log_prob(value.view(each.batch_shape)).flatten(1).sum(1)
        return log_prob - self.scale.log().sum() if self.standardises else log_prob

    @property
    def places(self) -> list[tuple[int, ...]]:
        """The indices of the values of a datum in the order of the conditionals."""
        return list(product(*map(range, self.shape)))

    @abstractmethod
    def conditional(self, x: Tensor, place: tuple[int, ...], c: Tensor | None) -> tuple[Any, int]:
        """p(x_i | x_1 … x_{i-1}) of the value at a place, from a pass of the network for it alone.

        Args:
            x: data whose values before the place are set, ``(n, *shape)``.
            place: the index of the value.
            c: features of the side information, ``(n, features)``.

        Returns:
            A distribution of one or more values of each datum, and the index of this one among them, flattened.
        """

    def _fill(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Draw the values that are NaN, each given all before it."""
        c, missing = self.condition_features(y), x.isnan().flatten(1)
        x = torch.where(x.isnan(), self.mean, x).contiguous()
        values, mean, scale = x.view(x.shape[0], -1), self.mean.flatten(), self.scale.flatten()
        for place in self.places:
            i = self.flat_index(place)
            if bool(missing[:, i].any()):
                fn, index = self.conditional(x, place, c)
                drawn = fn.sample().flatten(1)[:, index]
                drawn = mean[i] + scale[i] * drawn if self.standardises else drawn
                values[:, i] = torch.where(missing[:, i], drawn, values[:, i])
        return x

    def flat_index(self, place: tuple[int, ...]) -> int:
        """The index of a value in a flattened datum."""
        return sum(k * stride for k, stride in zip(place, self.mean.stride(), strict=True))

    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        return self._fill(self.mean.new_full((n, *self.shape), torch.nan), y)

    @torch.no_grad()
    def complete(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draw missing values, each given all values before it, ``(n, *shape)``, and their log importance weights.

        Where every missing value comes after all observed ones, the weights of a datum are equal and the draw is one
        from p(missing | observed). Otherwise observed values had no influence on the missing ones before them, and

            log w = Σ_{i observed} log p(x_i | x_1 … x_{i-1})

        corrects for it: draws resampled in proportion to w are from p(missing | observed) as their number grows.

        Args:
            x: data with NaN where values are missing, ``(n, *shape)``.
            y: side information of a conditional density, 1 or ``n`` rows.
        """
        missing = x.isnan()
        x = self._fill(x, self.side(x.shape[0], y))
        value = (x - self.mean) / self.scale if self.standardises else x
        each = self.conditionals(x, y)
        log_prob: Tensor = each.log_prob(value.view(each.batch_shape)).view(x.shape)
        return x, log_prob.masked_fill(missing, 0.0).flatten(1).sum(1)


class MADE(AutoregressiveDensity):
    """An autoregressive MLP over the flattened data.

    Germain, Gregor, Murray and Larochelle, "MADE: masked autoencoder for distribution estimation", ICML 2015.

    Args:
        shape: the shape of one datum.
        hidden: widths of the hidden layers.
        likelihood: p(x_i | h_i) of one value; ten Gaussians by default.
        mean, scale, condition: as in ``AutoregressiveDensity``.
    """

    network: MaskedMLP

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int] = (512, 512),
        likelihood: Likelihood | None = None,
        mean: Tensor | None = None,
        scale: Tensor | None = None,
        condition: Condition | None = None,
    ) -> None:
        likelihood = likelihood or MixtureLikelihood()
        context = feature_count(condition)
        network = MaskedMLP(prod(shape), hidden, likelihood.outputs, context=context)
        nn.init.normal_(network.head.weight, std=1e-2)
        nn.init.zeros_(network.head.bias)
        super().__init__(shape, likelihood, network, mean, scale, condition)

    def conditional(self, x: Tensor, place: tuple[int, ...], c: Tensor | None) -> tuple[Any, int]:
        """The conditional of one value."""
        z = ((x - self.mean) / self.scale).flatten(1)
        return self.likelihood(self.network.at(z, self.flat_index(place), c)), 0
