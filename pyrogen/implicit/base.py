"""What every adversarially trained model shares: two networks and a prior."""

import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigError
from pyrogen.nn.modes import evaluating


class Adversarial(nn.Module):
    """``x = generator(z)``, ``z ~ N(0, I)``, with the critic it was trained against.

    Abstract: ``GAN``, ``DCGAN`` and ``WGAN`` choose the networks.

    Args:
        generator: ``generator(z, y=None) -> (batch, *shape)``.
        critic: ``critic(x, y=None) -> (batch,)``: logits, or any real score.
        latent: the dimension of z.
        classes: how many labels a conditional model knows; 0 for an unconditional one.
    """

    origin: Tensor

    def __init__(self, generator: nn.Module, critic: nn.Module, latent: int, classes: int = 0) -> None:
        super().__init__()
        self.generator, self.critic, self.latent, self.classes = generator, critic, latent, classes
        self.register_buffer("origin", torch.zeros(latent), persistent=False)  # carries device and type

    def prior(self, n: int) -> Tensor:
        """Draw z ~ N(0, I), ``(n, latent)``."""
        return torch.randn(n, self.latent, device=self.origin.device, dtype=self.origin.dtype)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw ``(n, *shape)``.

        Args:
            n: how many.
            y: for a conditional model, labels of ``n`` rows or of one row for all; drawn evenly if not given.
        """
        if self.classes:
            y = torch.randint(self.classes, (n,), device=self.origin.device) if y is None else y
            if len(y) not in (1, n):
                raise ConfigError(f"expected labels with 1 or {n} rows; got {len(y)}")
            y = y.expand(n)
        with evaluating(self):
            x: Tensor = self.generator(self.prior(n), y)
            return x


class Range(nn.Module):
    """The last layer of a generator: onto [0, 1] by ``(tanh + 1) / 2``, or the identity for real data."""

    def __init__(self, unit: bool) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, h: Tensor) -> Tensor:
        """Map h into the range of the data."""
        return (torch.tanh(h) + 1) / 2 if self.unit else h
