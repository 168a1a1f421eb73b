"""Rules that keep a critic's slope in bounds.

A penalty is ``penalty(critic, real, fake, *rest) -> scalar`` and is added to the critic's loss; clipping and spectral
normalisation act on the weights. Every norm is that of one score's gradient, so no penalty depends on the batch size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class GradientPenalty:
    """``λ E[(‖∇f(x̂)‖₂ - 1)²]`` at random points x̂ between data and samples.

    Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017.

    Args:
        weight: λ.
    """

    weight: float = 10.0

    def __call__(self, critic: Callable[..., Tensor], real: Tensor, fake: Tensor, *rest: Tensor) -> Tensor:
        """The penalty for ``critic(x, *rest)`` between ``real`` and ``fake`` of one shape; a scalar."""
        mix = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
        norm = _slopes(critic, torch.lerp(fake, real, mix), *rest).norm(dim=1)
        return self.weight * (norm - 1).square().mean()


@dataclass(frozen=True)
class R1Penalty:
    """``γ/2 E‖∇f(x)‖²`` on the data (R1), and likewise on the samples if asked (R1 + R2).

    At an equilibrium the critic is flat on the data, and with it the game converges near one. Mescheder, Geiger and
    Nowozin, "Which training methods for GANs do actually converge?", ICML 2018.

    Args:
        weight: γ.
        samples: whether samples are penalised as well.
    """

    weight: float = 10.0
    samples: bool = False

    def __call__(self, critic: Callable[..., Tensor], real: Tensor, fake: Tensor, *rest: Tensor) -> Tensor:
        """The penalty for ``critic(x, *rest)`` on ``real``, and on ``fake``; a scalar."""
        where = (real, fake) if self.samples else (real,)
        squares = [_slopes(critic, x, *rest).square().sum(1).mean() for x in where]
        return 0.5 * self.weight * sum(squares[1:], squares[0])


def apply_spectral_norm(network: Network) -> Network:
    """Divide the weight matrix of each linear map, embedding and convolution by its largest singular value, in place.

    The value is kept by power iteration, one round at each forward pass in training mode; a network of 1-Lipschitz
    activations is then 1-Lipschitz in each layer's matrix. Miyato et al., "Spectral normalization for generative
    adversarial networks", ICLR 2018.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Embedding | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            spectral_norm(module)
    return network


@torch.no_grad()
def clip_weights(network: nn.Module, bound: float) -> None:
    """Bring every parameter of ``network`` into [-bound, bound], in place.

    Arjovsky, Chintala and Bottou, "Wasserstein generative adversarial networks", ICML 2017.
    """
    for weight in network.parameters():
        weight.clamp_(-bound, bound)


def _slopes(critic: Callable[..., Tensor], x: Tensor, *rest: Tensor) -> Tensor:
    """The gradient of each score by all that it is a score of: ``(scores, dims)``."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        scores = critic(x, *rest)
        (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return gradient.reshape(len(scores), -1)
