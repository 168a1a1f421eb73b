"""The two-player game: a generator against a critic.

Losses are objects with ``critic(real, fake)`` and ``generator(fake)``, both to be minimised, where real and
fake are the critic's outputs (logits) on data and on samples. Lipschitz rules are a penalty added to the
critic's loss, or a clip of its weights.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyrogen.errors import ConfigError
from pyrogen.infer.parameters import assign, weights_of
from pyrogen.infer.programs import places, taking
from pyrogen.nn.modes import evaluating

MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]


class AdversarialLoss(Protocol):
    """What each player minimises, as a scalar."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss."""
        ...

    def generator(self, fake: Tensor) -> Tensor:
        """The generator's loss."""
        ...


class Minimax:
    """``max_D min_G  E[log D(x)] + E[log(1 - D(G(z)))]`` with ``D = σ(logit)``.

    Goodfellow et al., "Generative adversarial nets", NeurIPS 2014. At the optimal D the critic's loss is
    ``2 log 2 - 2 JS(p, q)``.
    """

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``-E[log D(x)] - E[log(1 - D(G(z)))]``."""
        return F.softplus(-real).mean() + F.softplus(fake).mean()

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

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``E[f(G(z))] - E[f(x)]``: minus the estimate of the distance."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Tensor:
        """``-E[f(G(z))]``."""
        return -fake.mean()


@dataclass(frozen=True)
class GradientPenalty:
    """``λ E[(‖∇f(x̂)‖₂ - 1)²]`` at random points x̂ between data and samples.

    Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017. The norm is of each example's
    own gradient, so the value does not depend on the batch size.

    Args:
        weight: λ.
    """

    weight: float = 10.0

    def __call__(self, critic: Callable[..., Tensor], real: Tensor, fake: Tensor, *rest: Tensor) -> Tensor:
        """The penalty for ``critic(x, *rest)`` between ``real`` and ``fake`` of one shape; a scalar."""
        mix = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
        between = torch.lerp(fake, real, mix).detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(critic(between, *rest).sum(), between, create_graph=True)
        return self.weight * (gradient.flatten(1).norm(dim=1) - 1).square().mean()


class AdversarialGame:
    """One step of the game: the critic learns from each batch, the generator at every ``critic_steps``-th.

    Args:
        generator: ``generator(z, y=None) -> x``.
        critic: ``critic(x, y=None) -> logits (batch,)`` or ``(batch, 1)``.
        prior: ``prior(n) -> z``, on the device of the data.
        loss: ``NonSaturating()`` by default.
        optim: makes the optimiser of each player; one for both, or a pair (generator's, critic's).
        critic_steps: critic updates for each generator update (K).
        penalty: ``penalty(critic, real, fake, *rest)``, added to the critic's loss.
        clip: τ; after every update all weights of the critic lie in [-τ, τ].
        schedule: makes a learning-rate schedule of each optimiser, stepped once for each batch.

    Each call returns ``critic_loss`` (without the penalty) and ``generator_loss`` (the latest, once there is
    one), and ``penalty`` where there is one.

    Raises:
        ConfigError: if ``critic_steps`` is less than 1, or ``clip`` not positive.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        prior: Callable[[int], Tensor],
        loss: AdversarialLoss | None = None,
        optim: MakeOptimizer | tuple[MakeOptimizer, MakeOptimizer] | None = None,
        *,
        critic_steps: int = 1,
        penalty: Callable[..., Tensor] | None = None,
        clip: float | None = None,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
    ) -> None:
        if critic_steps < 1:
            raise ConfigError(f"critic_steps must be at least 1; got {critic_steps}")
        if clip is not None and clip <= 0:
            raise ConfigError(f"clip must be positive; got {clip}")
        optim = optim or partial(Adam, lr=2e-4, betas=(0.5, 0.999))
        make_g, make_c = optim if isinstance(optim, tuple) else (optim, optim)
        self._networks = {"generator": generator, "critic": critic}
        self._generate = taking(generator, places(generator))
        self._criticise = taking(critic, places(critic))
        self.prior, self.loss, self.penalty, self.clip = prior, loss or NonSaturating(), penalty, clip
        self.critic_steps = critic_steps
        self.optimizers = {"generator": make_g(generator.parameters()), "critic": make_c(critic.parameters())}
        self.schedules = {name: schedule(o) for name, o in self.optimizers.items()} if schedule else {}
        self.t = 0
        self.generator_loss: Tensor | None = None
        self._clip_critic()

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """Learn from one batch of data, ``(batch, *event)``, and its labels if the networks take them."""
        x, *rest = batch
        with torch.no_grad():
            fake = self._generate(self.prior(len(x)), *rest)
        critic_loss = self.loss.critic(self._criticise(x, *rest), self._criticise(fake, *rest))
        logs = {"critic_loss": critic_loss.detach()}
        if self.penalty is not None:
            penalty = self.penalty(self._criticise, x, fake, *rest)
            critic_loss = critic_loss + penalty
            logs["penalty"] = penalty.detach()
        self._update("critic", critic_loss)
        self._clip_critic()
        self.t += 1
        if self.t % self.critic_steps == 0:
            generator_loss = self.loss.generator(self._criticise(self._generate(self.prior(len(x)), *rest), *rest))
            self._update("generator", generator_loss)
            self.generator_loss = generator_loss.detach()
        for player, schedule in self.schedules.items():
            if player == "critic" or self.t >= self.critic_steps:  # torch wants the first move before
                schedule.step()
        return logs if self.generator_loss is None else logs | {"generator_loss": self.generator_loss}

    @torch.no_grad()
    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        """Both losses on a batch, without learning and with every network in evaluation mode."""
        x, *rest = batch
        with evaluating(*self._networks.values()):
            fake = self._criticise(self._generate(self.prior(len(x)), *rest), *rest)
            real = self._criticise(x, *rest)
        return {"critic_loss": self.loss.critic(real, fake), "generator_loss": self.loss.generator(fake)}

    def _update(self, player: str, loss: Tensor) -> None:
        optimizer = self.optimizers[player]
        optimizer.zero_grad()
        # Only this player's gradients are accumulated: the other's weights are constants of the move.
        loss.backward(inputs=[p for p in self._networks[player].parameters() if p.requires_grad])
        optimizer.step()

    @torch.no_grad()
    def _clip_critic(self) -> None:
        if self.clip is not None:
            for weight in self._networks["critic"].parameters():
                weight.clamp_(-self.clip, self.clip)

    def weights(self) -> dict[str, Tensor]:
        """All that was learned, by name: parameters and buffers of both players; the live tensors."""
        return weights_of(self._networks)

    def state_dict(self) -> dict[str, Any]:
        """The weights, both optimisers and schedules, and whose turn it is."""
        return {
            "weights": {name: t.detach() for name, t in self.weights().items()},
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "schedules": {name: s.state_dict() for name, s in self.schedules.items()},
            "t": self.t,
            "generator_loss": self.generator_loss,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back ``state_dict``; raises ``KeyError`` if the weights are not those of these networks."""
        assign({name: t.detach() for name, t in self.weights().items()}, state["weights"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, schedule in self.schedules.items():
            schedule.load_state_dict(state["schedules"][name])
        self.t, self.generator_loss = state["t"], state["generator_loss"]
