"""Posteriors q(z | x) of a variational autoencoder: how the output of an encoder becomes a distribution of z."""

from typing import Any, Protocol

import pyro.distributions as dist
import pyro.distributions.transforms as transforms
import torch
from pyro.nn import ConditionalAutoRegressiveNN
from torch import Tensor, nn

from pyrogen.errors import unknown
from pyrogen.nn.precision import at_least_float32


class Posterior(Protocol):
    """A family of posteriors; ``outputs`` is how many numbers it wants of the encoder."""

    outputs: int

    def __call__(self, h: Tensor, /) -> Any:
        """q(z | x) from ``h (batch, outputs)``: batch shape ``(batch,)``, event shape ``(latent,)``."""
        ...

    def point_estimate(self, h: Tensor, /) -> Tensor:
        """A point that stands for x, ``(batch, latent)``: the mean, or what the flow makes of it."""
        ...


class DiagonalNormal(nn.Module):
    """q(z | x) = N(μ, diag σ²), with μ and log σ the two halves of h.

    Args:
        latent: the dimension of z.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.outputs = 2 * latent

    def forward(self, h: Tensor) -> Any:
        """The normal distribution."""
        return normal(h)

    def point_estimate(self, h: Tensor) -> Tensor:
        """μ."""
        return at_least_float32(h).chunk(2, -1)[0]


class FlowPosterior(nn.Module):
    """q(z | x): a normal distribution carried along by L invertible maps, each of which sees a context of x.

        planar  f(z) = z + û tanh(wᵀz + b)                       Rezende and Mohamed, ICML 2015
        iaf     f(z)_i = μ_i(z_<i) + σ_i(z_<i) z_i               Kingma et al., NeurIPS 2016

    The maps are Pyro's. A draw knows its own log q at no cost; another point has none (``planar``) or a slow one
    (``iaf``).

    Args:
        latent: the dimension of z.
        flow: ``planar`` or ``iaf``.
        layers: L.
        context: the length of what the encoder tells each map, beside μ and σ.

    Raises:
        ConfigError: for an unknown flow.
    """

    def __init__(self, latent: int, flow: str = "iaf", layers: int = 4, context: int = 32) -> None:
        super().__init__()
        if flow not in ("planar", "iaf"):
            raise unknown("flow", flow, ("planar", "iaf"))
        self.outputs, self.context = 2 * latent + context, context
        width = [max(2 * latent, 64)]
        if flow == "planar":
            flows = [transforms.conditional_planar(latent, context, width) for _ in range(layers)]
        else:  # each map sees the dimensions in the order opposite to the one before
            orders = [torch.arange(latent), torch.arange(latent).flip(0)]
            networks = [
                ConditionalAutoRegressiveNN(latent, context, width, permutation=orders[i % 2]) for i in range(layers)
            ]
            flows = [transforms.ConditionalAffineAutoregressive(network) for network in networks]
        self.flows = nn.ModuleList(flows)

    def forward(self, h: Tensor) -> Any:
        """The transformed distribution."""
        base, maps = self._parts(h)
        return dist.TransformedDistribution(base, maps, validate_args=False)

    def point_estimate(self, h: Tensor) -> Tensor:
        """The flow of μ."""
        base, maps = self._parts(h)
        z: Tensor = base.mean
        for f in maps:
            z = f(z)
        return z

    def _parts(self, h: Tensor) -> tuple[Any, list[Any]]:
        h = at_least_float32(h)
        context = h[..., : self.context]
        flows: Any = self.flows
        return normal(h[..., self.context :]), [flow.condition(context) for flow in flows]


def normal(h: Tensor) -> Any:
    """N(μ, diag σ²) with μ and log σ the two halves of h, ``(batch, 2 latent)``."""
    loc, log_scale = at_least_float32(h).chunk(2, -1)
    return dist.Normal(loc, log_scale.exp(), validate_args=False).to_event(1)
