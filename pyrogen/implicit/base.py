"""What every adversarially trained model shares: two networks and a prior."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError
from pyrogen.nn.conditions import Conditional, Label
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.nn.noise import NormalNoise


class Adversarial(Conditional):
    """``x = generator(z)``, ``z ~ N(0, I)``, with the critic it was trained against.

    Abstract: ``GAN``, ``DCGAN``, ``WGAN`` and ``ResGAN`` choose the networks.

    With ``n_binary``, the last coordinates of z are -1 or 1 instead. A continuous generator maps a connected prior onto
    a connected set, and so connects separate modes; a disconnected prior avoids this. Khayatkhoei, Singh and
    Elgammal, "Disconnected manifold learning for generative adversarial networks", NeurIPS 2018.

    Args:
        generator: ``generator(z, y=None) -> (batch, *shape)``.
        critic: ``critic(x, y=None) -> (batch,)``: logits, or any real score.
        latent: the dimension of z.
        classes: how many labels a conditional model knows; 0 for an unconditional one.
        bits: how many coordinates of z are signs.

    Raises:
        ConfigError: if there are more signs than coordinates.
    """

    def __init__(
        self, generator: nn.Module, critic: nn.Module, latent: int, classes: int = 0, n_binary: int = 0
    ) -> None:
        super().__init__(Label(classes) if classes else None)
        if not 0 <= n_binary <= latent:
            raise ConfigError(f"n_binary must lie between 0 and latent={latent}; got {n_binary}")
        self.n_binary = n_binary
        self.generator, self.critic, self.latent, self.classes = generator, critic, latent, classes
        self.noise = NormalNoise(latent)

    def prior(self, n: int) -> Tensor:
        """Draw z, ``(n, latent)``."""
        z = self.noise.sample(n)
        if self.n_binary:
            z[:, -self.n_binary :] = z[:, -self.n_binary :].ge(0).to(z) * 2 - 1
        return z

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw ``(n, *shape)``.

        Args:
            n: how many.
            y: for a conditional model, labels of ``n`` rows or of one row for all; drawn from p(y) if not given.

        Raises:
            ConfigError: as ``Conditional.side``.
        """
        y = self.side(n, y, draw=True)
        with eval_mode(self):
            x: Tensor = self.generator(self.prior(n), y)
            return x


class Scale(nn.Module):
    """``x = location + scale h``: between real data and the unit in which networks see them.

    Args:
        location: the mean of the data, or 0.
        scale: their standard deviation, or 1; positive.
    """

    location: Tensor
    scale: Tensor

    def __init__(self, location: Tensor | None = None, scale: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("location", torch.zeros(()) if location is None else location)
        self.register_buffer("scale", torch.ones(()) if scale is None else scale)

    def inverse(self, x: Tensor) -> Tensor:
        """``h = (x - location) / scale``."""
        return (x - self.location) / self.scale

    def forward(self, h: Tensor) -> Tensor:
        """``x = location + scale h``."""
        return self.location + self.scale * h


class OutputRange(nn.Module):
    """The last layer of a generator: onto [0, 1] by ``(tanh + 1) / 2``, or by the scale of real data."""

    def __init__(self, unit: bool, scale: Scale | None = None) -> None:
        super().__init__()
        self.unit, self.scale = unit, scale or Scale()

    def forward(self, h: Tensor) -> Tensor:
        """Map h into the range of the data."""
        x: Tensor = (torch.tanh(h) + 1) / 2 if self.unit else self.scale(h)
        return x


def one_hot(y: Tensor | None, classes: int) -> Tensor:
    """Labels ``(batch,)`` as indicators ``(batch, classes)``; raises ``ValueError`` if there are none."""
    return F.one_hot(require_labels(y), classes)


def require_labels(y: Tensor | None) -> Tensor:
    """The labels; raises ``ValueError`` if there are none."""
    if y is None:
        raise ValueError("a conditional network needs labels: pass y")
    return y
