"""A mixture of products of Student's t distributions, the component summed out exactly.

log p(x) = log Σ_k w_k Π_d t_ν(x_d; m_kd, s_kd)
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.distributions import StudentT

from pyrogen.explicit.tractable_density import TractableDensity


class StudentMixture(TractableDensity):
    """A mixture of Student's t distributions with independent dimensions.

    Args:
        shape: the shape of one datum.
        loc: the initial locations m, ``(components, d)``.
        scale: the initial scales s, ``(d,)``; positive.
        df: ν, the degrees of freedom.
    """

    probability = "density"

    def __init__(self, shape: Sequence[int], loc: Tensor, scale: Tensor, df: float = 4.0) -> None:
        super().__init__()
        self.shape, self.df = tuple(shape), df
        self.logits = nn.Parameter(torch.zeros(len(loc)))
        self.loc = nn.Parameter(loc.clone())
        self.log_scale = nn.Parameter(scale.log().expand_as(loc).clone())

    def _components(self) -> StudentT:
        return StudentT(self.df, self.loc, self.log_scale.exp(), validate_args=False)

    def _log_prob(self, x: Tensor, y: Tensor | None) -> Tensor:
        each = self._components().log_prob(x.flatten(1)[:, None]).sum(2)
        return (self.logits.log_softmax(0) + each).logsumexp(1)

    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        k = torch.multinomial(self.logits.softmax(0), n, replacement=True)
        chi2 = torch.distributions.Chi2(torch.full_like(self.loc[k], self.df)).sample()
        t = torch.randn_like(self.loc[k]) * (self.df / chi2).sqrt()
        return (self.loc[k] + self.log_scale.exp()[k] * t).view(n, prod(self.shape)).unflatten(1, self.shape)
