"""What the two players minimise.

A loss is an object with ``critic(real, fake)`` and ``generator(fake)``, both scalars to be minimised, where real and
fake are the critic's scores on data and on samples, ``(batch,)``. ``boundary`` is the score at which the critic takes
neither side; ``None`` where the level of a score means nothing.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F


class AdversarialLoss(Protocol):
    """What each player minimises, as a scalar."""

    def critic(self, real: Tensor, fake: Tensor, /) -> Tensor:
        """The critic's loss."""
        ...

    def generator(self, fake: Tensor, /) -> Tensor:
        """The generator's loss."""
        ...


@dataclass(frozen=True)
class Minimax:
    """``max_D min_G  E[log D(x)] + E[log(1 - D(G(z)))]`` with ``D = σ(logit)``.

    Goodfellow et al., "Generative adversarial nets", NeurIPS 2014. At the optimal D the critic's loss is
    ``2 log 2 - 2 JS(p, q)``. With one-sided label smoothing (Salimans et al., "Improved techniques for training
    GANs", NeurIPS 2016) data are called real with probability ``1 - ε`` alone, which keeps the logits bounded.

    Args:
        smooth: ε.
    """

    smooth: float = 0.0
    boundary = 0.0

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``-E[(1 - ε) log D(x) + ε log(1 - D(x))] - E[log(1 - D(G(z)))]``."""
        smoothing = self.smooth * real.mean() if self.smooth else 0.0  # softplus(r) = softplus(-r) + r
        return F.softplus(-real).mean() + smoothing + F.softplus(fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """``E[log(1 - D(G(z)))]``, whose gradient vanishes when the critic wins."""
        return -F.softplus(fake).mean()


class NonSaturating(Minimax):
    """The minimax critic; the generator minimises ``-E[log D(G(z))]``, whose gradient does not vanish."""

    def generator(self, fake: Tensor) -> Tensor:
        """``-E[log D(G(z))]``."""
        return F.softplus(-fake).mean()


class Wasserstein:
    """``max_f E[f(x)] - E[f(G(z))]`` over 1-Lipschitz f: the Wasserstein-1 distance.

    Arjovsky, Chintala and Bottou, "Wasserstein generative adversarial networks", ICML 2017.
    """

    boundary: float | None = None

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``E[f(G(z))] - E[f(x)]``: minus the estimate of the distance."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Tensor:
        """``-E[f(G(z))]``."""
        return -fake.mean()


class Hinge(Wasserstein):
    """The critic learns from the scores on the wrong side of a margin of 1; the generator raises its own.

    Lim and Ye, "Geometric GAN", 2017; Miyato et al., "Spectral normalization for GANs", ICLR 2018.
    """

    boundary = 0.0

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``E[max(0, 1 - f(x))] + E[max(0, 1 + f(G(z)))]``."""
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


class LeastSquares:
    """The critic regresses 1 on data and 0 on samples; the generator aims at 1.

    Mao et al., "Least squares generative adversarial networks", ICCV 2017.
    """

    boundary = 0.5

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``½ E[(f(x) - 1)²] + ½ E[f(G(z))²]``."""
        return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()

    def generator(self, fake: Tensor) -> Tensor:
        """``½ E[(f(G(z)) - 1)²]``."""
        return 0.5 * (fake - 1).square().mean()
