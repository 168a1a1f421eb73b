"""A normalising flow as the generator of a GAN, whose likelihood is therefore known.

    z ~ base    x = f⁻¹(z)    log p(x) = log base(f(x)) + log |det df/dx|

Trained against a critic, by likelihood (``LikelihoodPenalty``), or both. Grover, Dhar and Ermon, "Flow-GAN: combining
maximum likelihood and adversarial learning in generative models", AAAI 2018.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.explicit.flow import Flow
from pyrogen.explicit.tractable_density import TractableDensity


class FlowGenerator(nn.Module):
    """A flow as a generator: ``generator(z) = f⁻¹(z)``, differentiable, and ``generator.log_prob(x)``.

    Args:
        flow: an unconditional flow.
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, z: Tensor) -> Tensor:
        """The data of noise z, ``(batch, *shape)``."""
        return self.flow.decode(z)

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log p(x) in nats, ``(batch,)``."""
        return self.flow.log_prob(x)


class FlowGAN(TractableDensity):
    """A flow with the critic that trains it.

    Args:
        flow: an unconditional flow, whose base is sampled without gradient.
        critic: ``critic(x) -> (batch,)``.
    """

    def __init__(self, flow: Flow, critic: nn.Module) -> None:
        super().__init__()
        self.probability, self.shape = flow.probability, flow.shape
        self.generator, self.critic = FlowGenerator(flow), critic

    @property
    def base(self) -> Any:
        """The density of the noise vectors."""
        return self.generator.flow.base

    @torch.no_grad()
    def prior(self, n: int) -> Tensor:
        """Draw z, ``(n, d)``."""
        z: Tensor = self.base.sample(n)
        return z

    def _log_prob(self, x: Tensor, y: Tensor | None) -> Tensor:
        return self.generator.log_prob(x)

    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        x: Tensor = self.generator(self.prior(n))
        return x

    def encode(self, x: Tensor) -> Tensor:
        """The noise z of data, ``(batch, d)``."""
        return self.generator.flow.encode(x)

    def decode(self, z: Tensor) -> Tensor:
        """The data of noise z, ``(batch, *shape)``."""
        x: Tensor = self.generator(z)
        return x
