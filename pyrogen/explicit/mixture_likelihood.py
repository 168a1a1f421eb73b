"""Mixtures with K components as observation models of single values, for autoregressive models.

Each is a ``Likelihood``: ``h`` is ``(batch, outputs * channel, *rest)``, the K log-weights first, then the locations,
then the log-scales.
"""

from typing import Any, Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.data.space import Space
from pyrogen.errors import ConfigError
from pyrogen.explicit.likelihoods import BernoulliLikelihood, DiscretizedLogistic, Likelihood


class MixtureLikelihood(nn.Module):
    """p(x | h) = Σ_k w_k(h) f((x - m_k(h)) / s_k(h)), f a normal density or a discretised logistic one.

    Bishop, "Mixture density networks", 1994; Salimans et al., "PixelCNN++", ICLR 2017. The initial locations
    are spread evenly over the range of standardised data, or of data in [0, 1].

    Args:
        components: K.
        levels: grey levels of a discretised logistic, on [0, 1]; 0 for normal components.

    Raises:
        ConfigError: for fewer than 1 component.
    """

    probability: Literal["mass", "density"] = "density"

    def __init__(self, components: int = 10, levels: int = 0) -> None:
        super().__init__()
        if components < 1:
            raise ConfigError(f"a mixture needs at least 1 component; got {components}")
        self.components, self.levels, self.outputs = components, levels, 3 * components
        self.width = 3 / components  # initial scale of each component
        initial_loc = self.width * (torch.arange(components) + 0.5) - 1.5
        self.register_buffer("initial_loc", initial_loc, persistent=False)
        self.initial_loc: Tensor

    def forward(self, h: Tensor) -> Any:
        """The distribution of independent values, its batch shape the shape of x."""
        h = h.unflatten(1, (3, self.components, -1)).movedim(2, -1)
        logits, loc, log_scale = h.unbind(1)
        loc, scale = loc + self.initial_loc, self.width * log_scale.clamp(-7, 7).exp()
        component: Any
        if self.levels:
            component = DiscretizedLogistic(0.5 + loc / 3, scale / 6, self.levels)
        else:
            component = dist.Normal(loc, scale, validate_args=False)
        weights = dist.Categorical(logits=logits, validate_args=False)
        return dist.MixtureSameFamily(weights, component, validate_args=False)

    def mean(self, h: Tensor) -> Tensor:
        """E[x | h], of the shape of x; for discretised logistics, that of the logistics before truncation to [0, 1]."""
        distribution = self(h)
        loc: Tensor = distribution.component_distribution.loc
        return (distribution.mixture_distribution.probs * loc).sum(-1)

    def link(self, mean: Tensor) -> Tensor:
        """Zeros, the initial components; ``mean`` is ignored."""
        return mean.new_zeros(self.outputs * mean.shape[0], *mean.shape[1:])


def likelihood_for(space: Space, components: int) -> Likelihood:
    """The conditional distribution for a data space: Bernoulli, discretised logistics or Gaussians."""
    if space.probability == "mass":
        return BernoulliLikelihood()
    return MixtureLikelihood(components, space.levels if space.support == "unit" else 0)
