"""Autoregressive densities: the chain rule, with all conditionals computed by one masked network.

p(x) = Π_i p(x_i | x_1 … x_{i-1})    or, given side information y,    p(x | y) = Π_i p(x_i | x_1 … x_{i-1}, y)
"""

from collections.abc import Sequence
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
        c = self.condition_features(self.side(len(x), y))
        h = self.network((x - self.mean) / self.scale, *(() if c is None else (c,)))
        return self.likelihood(h.to(x.dtype))  # the network may run in mixed precision

    def _log_prob(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Sum the log-probabilities of the conditionals."""
        value = (x - self.mean) / self.scale if self.standardises else x
        each = self.conditionals(x, y)
        log_prob: Tensor = each.log_prob(value.view(each.batch_shape)).flatten(1).sum(1)
        return log_prob - self.scale.log().sum() if self.standardises else log_prob


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

    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        """Draw the values in order, one pass of the network for each of the d values."""
        c = self.condition_features(y)
        mean, scale = self.mean.flatten(), self.scale.flatten()
        x = mean.repeat(n, 1)
        for i in range(len(mean)):
            drawn = self.likelihood(self.network.at((x - mean) / scale, i, c)).sample()[:, 0, 0]
            x[:, i] = mean[i] + scale[i] * drawn if self.standardises else drawn
        return x.view(n, *self.shape)
