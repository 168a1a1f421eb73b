"""What the two players of an adversarial game minimise."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pyrogen.objectives.adversarial import AdversarialLoss
from pyrogen.pyro_tools.programs import drop_extra_args


class AdversarialTerms:
    """What each player minimises; nothing here moves, so that it can be followed by a compiled graph.

    Args:
        generator, critic: the networks.
        prior: ``prior(n) -> z``.
        loss: of the game.
        penalty: on the critic, or ``None``.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        prior: Callable[[int], Tensor],
        loss: AdversarialLoss,
        penalty: Callable[..., Tensor] | None,
    ) -> None:
        self.generate = drop_extra_args(generator)
        self.criticise = drop_extra_args(critic)
        self.prior, self.loss, self.penalty = prior, loss, penalty

    def critic_terms(
        self, x: Tensor, sigma: Tensor | None, penalty_factor: Tensor | None, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        """What the critic minimises, then what is logged of it."""
        with torch.no_grad():
            fake = self.generate(self.prior(len(x)), *rest)
            std_ratio = _deviation(fake) / _deviation(x).clamp_min(1e-12)
        x, fake = _noisy(x, sigma), _noisy(fake, sigma)
        on_real, on_fake = self.criticise(x, *rest), self.criticise(fake, *rest)
        loss = self.loss.critic(on_real, on_fake)
        logs = [loss.detach()]
        boundary = getattr(self.loss, "boundary", None)
        if boundary is not None:
            logs.append(0.5 * ((on_real > boundary).float().mean() + (on_fake < boundary).float().mean()))
        if self.penalty is not None:
            penalty = self.penalty(self.criticise, x, fake, *rest) * (1.0 if penalty_factor is None else penalty_factor)
            loss = loss + penalty
            logs.append(penalty.detach())
        return loss, *logs, std_ratio

    def logged(self) -> list[str]:
        """The names of what the critic's terms are logged as."""
        sides = ["critic_accuracy"] if getattr(self.loss, "boundary", None) is not None else []
        return ["critic_loss", *sides, *(["penalty"] if self.penalty is not None else []), "std_ratio"]

    def generator_terms(self, x: Tensor, sigma: Tensor | None, *rest: Tensor) -> tuple[Tensor]:
        """What the generator minimises."""
        fake = _noisy(self.generate(self.prior(len(x)), *rest), sigma)
        return (self.loss.generator(self.criticise(fake, *rest)),)

    def losses(self, x: Tensor, *rest: Tensor) -> dict[str, Tensor]:
        """Both losses on a batch, without noise or penalty."""
        fake = self.criticise(self.generate(self.prior(len(x)), *rest), *rest)
        real = self.criticise(x, *rest)
        return {"critic_loss": self.loss.critic(real, fake), "generator_loss": self.loss.generator(fake)}


def _noisy(x: Tensor, sigma: Tensor | None) -> Tensor:
    return x if sigma is None else x + sigma * torch.randn_like(x)


def _deviation(x: Tensor) -> Tensor:
    """The root mean square distance from the mean, over all coordinates."""
    return (x - x.mean(0)).square().mean().sqrt()
