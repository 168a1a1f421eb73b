"""Base class and shared layers of adversarially trained models."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError
from pyrogen.nn.conditions import Conditional, Label
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.nn.noise import NormalNoise


class Adversarial(Conditional):
    """An implicit model ``x = generator(z)``, ``z ~ N(0, I)``, with the critic that trains it.

    The subclasses ``GAN``, ``DCGAN``, ``WGAN`` and ``ResGAN`` define the networks.

    With ``n_binary``, the last coordinates of z are -1 or 1 with equal probability. A continuous generator maps a
    connected prior onto a connected set, and so connects separate modes; a disconnected prior avoids this. Khayatkhoei,
    Singh and Elgammal, "Disconnected manifold learning for generative adversarial networks", NeurIPS 2018.

    Args:
        generator: ``generator(z, y=None) -> (batch, *shape)``.
        critic: ``critic(x, y=None) -> (batch,)``: logits, or any real score.
        latent: the dimension of z.
        classes: number of classes of a conditional model; 0 for an unconditional one.
        n_binary: number of coordinates of z that are -1 or 1.

    Raises:
        ConfigError: unless ``0 <= n_binary <= latent``.
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
            n: the number of samples.
            y: for a conditional model, labels of ``n`` rows or of one row for all; drawn from p(y) if not given.

        Raises:
            ConfigError: as ``Conditional.side``.
        """
        y = self.side(n, y, draw=True)
        with eval_mode(self):
            x: Tensor = self.generator(self.prior(n), y)
            return x


class OutputRange(nn.Module):
    """The last layer of a generator: ``(tanh h + 1) / 2`` for data in [0, 1], otherwise the identity."""

    def __init__(self, unit: bool) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, h: Tensor) -> Tensor:
        """Map h into the range of the data."""
        return (torch.tanh(h) + 1) / 2 if self.unit else h


def one_hot(y: Tensor | None, classes: int) -> Tensor:
    """One-hot vectors ``(batch, classes)`` of labels ``(batch,)``; raises ``ValueError`` if ``y`` is ``None``."""
    return F.one_hot(require_labels(y), classes)


def require_labels(y: Tensor | None) -> Tensor:
    """Return ``y``; raises ``ValueError`` if it is ``None``."""
    if y is None:
        raise ValueError("a conditional network needs labels: pass y")
    return y
