"""Adversarial losses of generator and critic.

A loss is an object with ``critic(real, fake)`` and ``generator(fake, real)``, both scalars to be minimised, where
``real`` and ``fake`` are the critic's scores of data and of samples, ``(batch,)``. Optional attributes:

    boundary     the score that separates data from samples, for a critic that classifies; ``None`` by default
    paired       whether only differences between the scores of data and samples matter; ``False`` by default
    uses_real    whether the generator's loss depends on ``real``; ``True`` by default. Where it is false the critic
                 is not evaluated on data for the generator's update, and ``real`` is ``None``
    on_features  the networks, ``"critic"`` or ``"generator"`` or both, whose loss takes ``critic.features(x)``,
                 ``(batch, dims)``, instead of scores; none by default
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from pyrogen import ranks
from pyrogen.errors import ConfigError
from pyrogen.nn.mmd import gaussian_kernel, unbiased_mmd2


class AdversarialLoss(Protocol):
    """A critic loss and a generator loss, each a scalar."""

    def critic(self, real: Tensor, fake: Tensor, /) -> Tensor:
        """The critic's loss; its gradient is taken with respect to the critic's parameters."""
        ...

    def generator(self, fake: Tensor, real: Any, /) -> Tensor:
        """The generator's loss; ``real`` carries no gradient, and is ``None`` for a loss with ``uses_real = False``."""
        ...


@dataclass(frozen=True)
class Minimax:
    """``max_D min_G  E[log D(x)] + E[log(1 - D(G(z)))]`` with ``D = σ(logit)``.

    Goodfellow et al., "Generative adversarial nets", NeurIPS 2014. At the optimal D the critic's loss is
    ``2 log 2 - 2 JS(p, q)``. With one-sided label smoothing (Salimans et al., "Improved techniques for training
    GANs", NeurIPS 2016) the label of data is ``1 - ε`` in place of 1, which keeps the optimal logits bounded.

    Args:
        smooth: ε.
    """

    smooth: float = 0.0
    boundary = 0.0
    uses_real = False

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``-E[(1 - ε) log D(x) + ε log(1 - D(x))] - E[log(1 - D(G(z)))]``."""
        smoothing = self.smooth * real.mean() if self.smooth else 0.0  # softplus(r) = softplus(-r) + r
        return F.softplus(-real).mean() + smoothing + F.softplus(fake).mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """``E[log(1 - D(G(z)))]``, whose gradient vanishes where the critic separates samples from data."""
        return -F.softplus(fake).mean()


class NonSaturating(Minimax):
    """The minimax critic; the generator minimises ``-E[log D(G(z))]``, whose gradient does not vanish."""

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """``-E[log D(G(z))]``."""
        return F.softplus(-fake).mean()


class Wasserstein:
    """``max_f E[f(x)] - E[f(G(z))]`` over 1-Lipschitz f: the Wasserstein-1 distance.

    Arjovsky, Chintala and Bottou, "Wasserstein generative adversarial networks", ICML 2017.
    """

    boundary: float | None = None
    uses_real = False

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``E[f(G(z))] - E[f(x)]``: minus the estimate of the distance."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """``-E[f(G(z))]``."""
        return -fake.mean()


class Hinge(Wasserstein):
    """The critic minimises the hinge loss with margin 1; the generator maximises the scores of its samples.

    Lim and Ye, "Geometric GAN", 2017; Miyato et al., "Spectral normalization for GANs", ICLR 2018.
    """

    boundary = 0.0

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``E[max(0, 1 - f(x))] + E[max(0, 1 + f(G(z)))]``."""
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


class LeastSquares:
    """Least squares: the critic regresses 1 on data and 0 on samples, and the generator's target is 1.

    Mao et al., "Least squares generative adversarial networks", ICCV 2017.
    """

    boundary = 0.5
    uses_real = False

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``½ E[(f(x) - 1)²] + ½ E[f(G(z))²]``."""
        return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """``½ E[(f(G(z)) - 1)²]``."""
        return 0.5 * (fake - 1).square().mean()


class Relativistic:
    """The relativistic pairing loss: the critic classifies which of a pair ``(x, G(z))`` is the datum.

    ``max_G min_D  E[softplus(-(D(x) - D(G(z))))]``, row i of the data paired with row i of the samples. The scores of
    samples are compared with those of data and not with a constant, so there is no local minimum in which samples
    gather on one side of a fixed boundary. Jolicoeur-Martineau, "The relativistic discriminator: a key element missing
    from standard GAN", ICLR 2019. R3GAN adds R1 and R2, ``R1Penalty(γ, samples=True)``, for local convergence: Huang
    et al., "The GAN is dead; long live the GAN! A modern GAN baseline", NeurIPS 2024.
    """

    paired = True
    uses_real = True

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``E[softplus(-(D(x) - D(G(z))))]``; log 2 for constant scores."""
        return F.softplus(fake - real).mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """``E[softplus(-(D(G(z)) - D(x)))]``."""
        return F.softplus(real - fake).mean()


class FeatureMatching(NonSaturating):
    """The non-saturating critic; the generator matches the mean of the critic's features.

    ``min_G  ‖E f(x) - E f(G(z))‖²`` with f = ``critic.features``. Salimans et al., "Improved techniques for training
    GANs", NeurIPS 2016.
    """

    uses_real = True
    on_features = ("generator",)

    def generator(self, fake: Tensor, real: Any) -> Tensor:
        """``‖E f(x) - E f(G(z))‖²`` of features ``(batch, dims)``."""
        return ranks.batch_mean(real.mean(0) - fake.mean(0)).square().sum()


class MMD:
    """``min_G max_f  MMD²(f(x), f(G(z)))`` under a Gaussian kernel on the critic's features.

    The unbiased estimate of the squared maximum mean discrepancy, with f = ``critic.features`` and the mean over
    bandwidths h of ``exp(-‖a - b‖² / 2h²)`` as the kernel. Bound f with ``AdversarialGame(clip=…)``, as the paper does,
    or with spectral normalisation: a penalty on scores does not reach features. The paper's autoencoder on the
    features is not part of the loss. Li et al., "MMD GAN: towards deeper understanding of moment matching network",
    NeurIPS 2017.

    Args:
        bandwidths: h, in units of the features.

    Raises:
        ConfigError: for no bandwidth, or one that is not positive.
    """

    uses_real = True
    on_features = ("critic", "generator")

    def __init__(self, bandwidths: Sequence[float] = (1.0, 2.0, 4.0, 8.0, 16.0)) -> None:
        if not bandwidths or not all(h > 0 for h in bandwidths):
            raise ConfigError(f"bandwidths must be positive numbers, at least one; got {bandwidths}")
        self.bandwidths = tuple(bandwidths)

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``-MMD²`` of features ``(batch, dims)``, at least two rows each."""
        return -self.generator(fake, real)

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """``MMD²`` of features ``(batch, dims)``, at least two rows each."""
        fake, real = ranks.gather_rows(fake), ranks.gather_rows(real)
        kernel = gaussian_kernel(torch.cat([fake, real]), self.bandwidths)
        return unbiased_mmd2(kernel, len(fake))
