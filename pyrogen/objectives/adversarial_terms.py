"""The losses of critic and generator and the quantities logged with them, as functions of a batch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigError
from pyrogen.nn.precision import model_dtype
from pyrogen.objectives.adversarial import AdversarialLoss
from pyrogen.pyro_tools.programs import drop_extra_args


class AdversarialTerms:
    """The losses of critic and generator and the logged quantities.

    No parameter is updated and no number is read from the device here, so each method can run as a compiled graph.

    Args:
        generator: ``generator(z)`` or ``generator(z, y)``.
        critic: ``critic(x)`` or ``critic(x, y)``; with ``features`` of the same arguments, where the loss asks for
            features.
        prior: ``prior(n) -> z``.
        loss: of the game.
        penalty: ``penalty(critic, real, fake, *rest)``, added to the critic's loss, or ``None``.
        generator_penalty: ``penalty(generator, real, *rest)``, added to the generator's loss, or ``None``.

    Raises:
        ConfigError: if the loss works on features and the critic has no method ``features``.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        prior: Callable[[int], Tensor],
        loss: AdversarialLoss,
        penalty: Callable[..., Tensor] | None,
        generator_penalty: Callable[..., Tensor] | None = None,
    ) -> None:
        self.generator, self.generator_penalty = generator, generator_penalty
        self.generate = drop_extra_args(generator)
        self.score = drop_extra_args(critic)
        self.prior, self.loss, self.penalty = prior, loss, penalty
        self.features: Callable[..., Tensor] | None = None
        if getattr(loss, "on_features", ()):
            features = getattr(critic, "features", None)
            if not callable(features):
                raise ConfigError(
                    f"{type(loss).__name__} works on features of the critic: expected a critic with a method "
                    f"features(x) -> (batch, dims); got {type(critic).__name__}"
                )
            self.features = drop_extra_args(features)

    def critic_terms(
        self, x: Tensor, sigma: Tensor | None, penalty_factor: Tensor | None, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        """The critic's loss with its penalty, then the quantities named by ``logged``; all scalars.

        Args:
            x: data, ``(batch, *event)``.
            sigma: standard deviation of the instance noise; ``None`` for none.
            penalty_factor: a factor of the penalty; ``None`` for 1.
            *rest: labels, for networks that take them.
        """
        with torch.no_grad():
            fake = self.generate(self.prior(len(x)), *rest)
            std_ratio = _deviation(fake) / _deviation(x).clamp_min(1e-12)
        x, fake = _noisy(x, sigma), _noisy(fake, sigma)
        output = self._output("critic")
        real_output, fake_output = output(x, *rest), output(fake, *rest)
        loss = self.loss.critic(real_output, fake_output)
        logs = [loss.detach()]
        accuracy = critic_accuracy(self.loss, real_output, fake_output)
        if accuracy is not None:
            logs.append(accuracy)
        if self.penalty is not None:
            penalty = self.penalty(self.score, x, fake, *rest) * (1.0 if penalty_factor is None else penalty_factor)
            loss = loss + penalty
            logs.append(penalty.detach())
        return loss, *logs, std_ratio

    def logged(self) -> list[str]:
        """The names of the quantities that ``critic_terms`` returns after the loss."""
        classifies = getattr(self.loss, "paired", False) or getattr(self.loss, "boundary", None) is not None
        accuracy = ["critic_accuracy"] if classifies else []
        return ["critic_loss", *accuracy, *(["penalty"] if self.penalty is not None else []), "std_ratio"]

    def generator_terms(self, x: Tensor, sigma: Tensor | None, *rest: Tensor) -> tuple[Tensor, ...]:
        """The generator's loss with its penalty and, if it has one, what ``generator_logged`` names; all scalars.

        The arguments are those of ``critic_terms``.
        """
        fake = _noisy(self.generate(self.prior(len(x)), *rest), sigma)
        output = self._output("generator")
        real_output = None
        if self._uses_real():
            with torch.no_grad():  # it depends on no parameter of the generator
                real_output = output(_noisy(x, sigma), *rest)
        loss = self.loss.generator(output(fake, *rest), real_output)
        if self.generator_penalty is None:
            return (loss,)
        penalty = self.generator_penalty(self.generator, x, *rest)
        return loss + penalty, loss.detach(), penalty.detach()

    def generator_logged(self) -> list[str]:
        """The names of the last quantities that ``generator_terms`` returns."""
        return ["generator_loss", *(["generator_penalty"] if self.generator_penalty is not None else [])]

    def losses(self, x: Tensor, *rest: Tensor) -> dict[str, Tensor]:
        """Both losses on a batch, without noise or penalty, and the generator's penalty if there is one."""
        fake = self.generate(self.prior(len(x)), *rest)
        names = ("critic", "generator")
        real_output, fake_output = ({name: self._output(name)(of, *rest) for name in names} for of in (x, fake))
        losses = {
            "critic_loss": self.loss.critic(real_output["critic"], fake_output["critic"]),
            "generator_loss": self.loss.generator(fake_output["generator"], real_output["generator"]),
        }
        if self.generator_penalty is not None:
            losses["generator_penalty"] = self.generator_penalty(self.generator, x, *rest)
        return losses

    def _output(self, network: str) -> Callable[..., Tensor]:
        """The function of the critic on which a loss depends: its scores or its features."""
        if self.features is not None and network in getattr(self.loss, "on_features", ()):
            return self.features
        return self.score

    def _uses_real(self) -> bool:
        return bool(getattr(self.loss, "uses_real", True))


def critic_accuracy(loss: AdversarialLoss, real: Tensor, fake: Tensor) -> Tensor | None:
    """The share of scores, or of pairs for a relativistic loss, that the critic classifies correctly.

    Args:
        loss: ``E[D(x) > D(G(z))]`` if it is ``paired``; else ``½ P(D(x) > b) + ½ P(D(G(z)) < b)`` with b its
            ``boundary``.
        real, fake: scores.

    Returns:
        A scalar; ``None`` for a loss whose critic does not classify.
    """
    dtype = model_dtype(real)
    if getattr(loss, "paired", False):
        return (real > fake).to(dtype).mean()
    boundary = getattr(loss, "boundary", None)
    if boundary is None:
        return None
    return 0.5 * ((real > boundary).to(dtype).mean() + (fake < boundary).to(dtype).mean())


def _noisy(x: Tensor, sigma: Tensor | None) -> Tensor:
    return x if sigma is None else x + sigma * torch.randn_like(x)


def _deviation(x: Tensor) -> Tensor:
    """The root mean square distance from the mean, over all coordinates."""
    return (x - x.mean(0)).square().mean().sqrt()
