"""Constraints on the slope of a critic, by penalties, clipping or spectral normalisation; likelihood as a penalty.

A critic's penalty is ``penalty(critic, real, fake, *rest) -> scalar`` and is added to the critic's loss, a generator's
``penalty(generator, real, *rest)`` to the generator's; clipping and spectral normalisation act on the weights. Every
norm is that of a single score's gradient, so the expected penalty does not depend on the batch size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class GradientPenalty:
    """WGAN-GP's penalty ``λ E[(‖∇f(x̂)‖₂ - 1)²]`` with ``x̂ = u x + (1 - u) G(z)``, ``u ~ U(0, 1)`` for each row.

    Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017.

    Args:
        weight: λ.
    """

    weight: float = 10.0

    def __call__(self, critic: Callable[..., Tensor], real: Tensor, fake: Tensor, *rest: Tensor) -> Tensor:
        """The penalty of ``critic(x, *rest)`` between ``real`` and ``fake`` of one shape; a scalar."""
        mix = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
        norm = _slopes(critic, torch.lerp(fake, real, mix), *rest).norm(dim=1)
        return self.weight * (norm - 1).square().mean()


@dataclass(frozen=True)
class R1Penalty:
    """R1, ``γ/2 E‖∇f(x)‖²`` on data; with ``samples`` also R2, ``γ/2 E‖∇f(G(z))‖²``, with the same γ.

    At an equilibrium the critic's gradient on the data vanishes; R1 makes the training converge locally. Mescheder,
    Geiger and Nowozin, "Which training methods for GANs do actually converge?", ICML 2018.

    Args:
        weight: γ.
        samples: whether R2 is added.
    """

    weight: float = 10.0
    samples: bool = False

    def __call__(self, critic: Callable[..., Tensor], real: Tensor, fake: Tensor, *rest: Tensor) -> Tensor:
        """R1 of ``critic(x, *rest)`` on ``real``, plus R2 on ``fake`` with ``samples``; a scalar."""
        where = (real, fake) if self.samples else (real,)
        squares = [_slopes(critic, x, *rest).square().sum(1).mean() for x in where]
        return 0.5 * self.weight * sum(squares[1:], squares[0])


@dataclass(frozen=True)
class LikelihoodPenalty:
    """``-λ E[log p(x)]`` of a generator with a density, in nats for each datum: the hybrid loss of Flow-GAN.

    Added to an adversarial loss it makes the sum of both objectives. Grover, Dhar and Ermon, "Flow-GAN: combining
    maximum likelihood and adversarial learning in generative models", AAAI 2018.

    Args:
        weight: λ.
    """

    weight: float = 1.0

    def __call__(self, generator: Any, real: Tensor, *rest: Tensor) -> Tensor:
        """The penalty of ``generator.log_prob(x)``, ``(batch,)``, on data; a scalar."""
        log_prob: Tensor = generator.log_prob(real)
        return -self.weight * log_prob.mean()


def apply_spectral_norm(network: Network) -> Network:
    """Divide the weight matrix of each linear map, embedding and convolution by its largest singular value, in place.

    The singular value is estimated by power iteration, one iteration at each forward pass in training mode. Miyato et
    al., "Spectral normalization for generative adversarial networks", ICLR 2018.

    Returns:
        The same network.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Embedding | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            spectral_norm(module)
    return network


@torch.no_grad()
def clip_weights(network: nn.Module, bound: float) -> None:
    """Clip every parameter of ``network`` to [-bound, bound], in place.

    Arjovsky, Chintala and Bottou, "Wasserstein generative adversarial networks", ICML 2017.
    """
    for weight in network.parameters():
        weight.clamp_(-bound, bound)


def _slopes(critic: Callable[..., Tensor], x: Tensor, *rest: Tensor) -> Tensor:
    """The gradient of each score with respect to its input, ``(scores, dims)``; a pack's score has a pack as input."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        scores = critic(x, *rest)
        (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return gradient.reshape(len(scores), -1)
