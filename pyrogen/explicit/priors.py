"""Priors p(z) of a variational autoencoder."""

from collections.abc import Callable
from typing import Any, Protocol

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigError


class Prior(Protocol):
    """A prior; ``posterior(x)`` is the model's q(z | x), which some priors are made of."""

    def __call__(self, n: int, posterior: Callable[[Tensor], Any]) -> Any:
        """p(z) for ``n`` data: batch shape ``(n,)``, event shape ``(latent,)``."""
        ...


class StandardNormal(nn.Module):
    """p(z) = N(0, I).

    Args:
        latent: the dimension of z.
    """

    zero: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(latent), persistent=False)

    def forward(self, n: int, posterior: Callable[[Tensor], Any]) -> Any:
        """N(0, I), for which a KL has a closed form."""
        zero = self.zero.expand(n, -1)
        return dist.Normal(zero, torch.ones_like(zero), validate_args=False).to_event(1)


class VampPrior(nn.Module):
    """p(z) = (1/K) Σ_k q(z | u_k): the posterior averaged over K learned pseudo-inputs.

    Tomczak and Welling, "VAE with a VampPrior", AISTATS 2018.

    Args:
        inputs: where the pseudo-inputs start, ``(K, *shape)``: data, for the field's usual choice.

    Raises:
        ConfigError: without any pseudo-input.
    """

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        if not len(inputs):
            raise ConfigError("a VampPrior needs at least 1 pseudo-input")
        self.inputs = nn.Parameter(inputs.clone())

    def forward(self, n: int, posterior: Callable[[Tensor], Any]) -> Any:
        """The mixture; its KL is estimated."""
        components = posterior(self.inputs)
        weights = dist.Categorical(logits=self.inputs.new_zeros(len(self.inputs)), validate_args=False)
        return dist.MixtureSameFamily(weights, components, validate_args=False).expand([n])
