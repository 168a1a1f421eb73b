"""Posteriors q(z | x) of a variational autoencoder, whose parameters are the output of the encoder."""

from typing import Any, Protocol

import pyro.distributions as dist
import pyro.distributions.transforms as transforms
import torch
from pyro.nn import ConditionalAutoRegressiveNN
from torch import Tensor, nn

from pyrogen.errors import unknown
from pyrogen.nn.precision import at_least_float32


class Posterior(Protocol):
    """A family of posteriors; ``outputs`` is the number of parameters, the size of the encoder's output."""

    outputs: int

    def __call__(self, h: Tensor, /) -> Any:
        """q(z | x) from ``h (batch, outputs)``: batch shape ``(batch,)``, event shape ``(latent,)``."""
        ...

    def point_estimate(self, h: Tensor, /) -> Tensor:
        """A representative point of q(z | x), ``(batch, latent)``: the mean, or its image under the flow."""
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
    """q(z | x): a normal distribution transformed by L invertible maps, each conditional on a context vector of x.

        planar  f(z) = z + û tanh(wᵀz + b)                       Rezende and Mohamed, ICML 2015
        iaf     f(z)_i = μ_i(z_<i) + σ_i(z_<i) z_i               Kingma et al., NeurIPS 2016

    The maps are Pyro's. log q of a sample is computed with the sample; at another point it is unavailable (``planar``)
    or slow (``iaf``).

    Args:
        latent: the dimension of z.
        flow: ``planar`` or ``iaf``.
        layers: L.
        context: the dimension of the context vector, an output of the encoder in addition to μ and σ.

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
        else:  # the order of the dimensions is reversed between maps
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
        """The image of μ under the flow."""
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
    """N(μ, diag σ²) with μ and log σ, within ±10, the two halves of h, ``(batch, 2 latent)``."""
    loc, log_scale = at_least_float32(h).chunk(2, -1)
    return dist.Normal(loc, log_scale.clamp(-10, 10).exp(), validate_args=False).to_event(1)
