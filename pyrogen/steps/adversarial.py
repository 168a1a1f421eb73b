"""The two-player game: a generator against a critic.

What the players minimise is a loss (``pyrogen.objectives.adversarial``), and what keeps the critic smooth a rule
(``pyrogen.objectives.penalties``); any generator and any critic play.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyrogen.compile.checked_graph import Gradients
from pyrogen.compile.verified import VerifiedFunction, should_compile
from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.objectives.adversarial import AdversarialLoss, NonSaturating
from pyrogen.objectives.adversarial_terms import AdversarialTerms
from pyrogen.objectives.penalties import clip_weights
from pyrogen.pyro_tools.parameters import assign, weights_of
from pyrogen.steps.diagnostics import diagnose
from pyrogen.steps.optimizers import MakeOptimizer, follow, make_optimizer


def wgan_critic_schedule(
    critic_steps: int = 5, burst: int = 100, first: int = 25, every: int = 500
) -> Callable[[int], int]:
    """WGAN's schedule: ``burst`` critic steps for each of the generator's ``first`` moves and every ``every``-th.

    Otherwise ``critic_steps``. Arjovsky, Chintala and Bottou, "Wasserstein generative adversarial networks", ICML
    2017. Use as ``AdversarialGame(critic_steps=wgan_critic_schedule())``.
    """
    return lambda moves: burst if moves < first or moves % every == 0 else critic_steps


class AdversarialGame:
    """One step of the game: the critic learns from each batch, the generator at every ``critic_steps``-th.

    Args:
        generator: ``generator(z, y=None) -> x``.
        critic: ``critic(x, y=None) -> logits (batch,)`` or ``(batch, 1)``.
        prior: ``prior(n) -> z``, on the device of the data.
        loss: ``NonSaturating()`` by default.
        optim: makes the optimiser of each player; one for both, or a pair (generator's, critic's).
        critic_steps: critic updates for each generator update (K), or ``critic_steps(moves) -> K`` given how often
            the generator has moved, e.g. ``wgan_critic_schedule()``.
        penalty: ``penalty(critic, real, fake, *rest)``, added to the critic's loss.
        penalty_schedule: ``penalty_schedule(t) -> factor``: what the penalty is multiplied by in training step t.
        clip: τ; after every update all weights of the critic lie in [-τ, τ].
        noise: instance noise, ``noise(t) -> σ``: N(0, σ²) is added to all that the critic sees in training step t.
            Sønderby et al., "Amortised MAP inference for image super-resolution", ICLR 2017.
        schedule: makes a learning-rate schedule of each optimiser, stepped once for each batch.
        compile: whether each player's loss and gradients run as one compiled graph (see ``VerifiedFunction``); by
            default after ``COMPILE_AFTER`` steps.
        constant: names of attributes and variables of what is played that never change (see ``VerifiedFunction``).

    Each call returns ``critic_loss`` (without the penalty), ``penalty`` where there is one, ``generator_loss`` (the
    latest, once there is one), and what tells early of a game that goes wrong (see ``diagnose``): ``std_ratio``, the
    deviation of the samples in units of that of the data; ``critic_accuracy``, the share of scores on the right side,
    where the loss has sides; ``gradient``, the norm of the generator's latest.

    A gradient that is not a number moves no weight: the losses say so, and the weights stay finite.

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
        critic_steps: int | Callable[[int], int] = 1,
        penalty: Callable[..., Tensor] | None = None,
        penalty_schedule: Callable[[int], float] | None = None,
        clip: float | None = None,
        noise: Callable[[int], float] | None = None,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        compile: bool | None = None,
        constant: Collection[str] = (),
    ) -> None:
        if isinstance(critic_steps, int) and critic_steps < 1:
            raise ConfigError(f"critic_steps must be at least 1; got {critic_steps}")
        if clip is not None and clip <= 0:
            raise ConfigError(f"clip must be positive; got {clip}")
        optim = optim or partial(Adam, lr=2e-4, betas=(0.5, 0.999))
        make_g, make_c = optim if isinstance(optim, tuple) else (optim, optim)
        self._networks = {"generator": generator, "critic": critic}
        self.players = AdversarialTerms(generator, critic, prior, loss or NonSaturating(), penalty)
        self.clip, self.critic_steps = clip, critic_steps
        self.noise, self.penalty_schedule = noise, penalty_schedule
        self.optimizers = {
            "generator": make_optimizer(make_g, generator.parameters()),
            "critic": make_optimizer(make_c, critic.parameters()),
        }
        self.schedules = {name: schedule(o) for name, o in self.optimizers.items()} if schedule else {}
        self.t = self.moves = self.waited = 0
        self.latest: dict[str, Tensor] = {}
        self.compile = compile
        self._verified = {
            "generator": VerifiedFunction(self.players.generator_terms, constant=constant),
            "critic": VerifiedFunction(self.players.critic_terms, constant=constant),
        }
        self._clip_critic()

    @torch.enable_grad()
    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """Learn from one batch of data, ``(batch, *event)``, and its labels if the networks take them."""
        x, *rest = batch
        sigma, penalty_factor = self._now(self.noise, x), self._now(self.penalty_schedule, x)
        _, *logged, _ = self._move("critic", self.players.critic_terms, x, sigma, penalty_factor, *rest)
        self._clip_critic()
        logs = dict(zip(self.players.logged(), logged, strict=True))
        self.t, self.waited = self.t + 1, self.waited + 1
        if self.waited >= (self.critic_steps if isinstance(self.critic_steps, int) else self.critic_steps(self.moves)):
            loss, norm = self._move("generator", self.players.generator_terms, x, sigma, *rest)
            self.latest = {"gradient": norm, "generator_loss": loss}
            self.moves, self.waited = self.moves + 1, 0
        for player, schedule in self.schedules.items():
            if player == "critic" or self.moves:  # torch wants the first move before
                schedule.step()
        return logs | self.latest

    def _now(self, schedule: Callable[[int], float] | None, x: Tensor) -> Tensor | None:
        """The value of a schedule in this step, as a tensor: a graph would take a number for a constant."""
        return None if schedule is None else torch.full((), schedule(self.t), device=x.device)

    def _move(self, player: str, terms: Callable[..., tuple[Tensor, ...]], *args: Any) -> tuple[Tensor, ...]:
        """Move one player downhill; its terms, detached, and the norm of its gradient."""
        optimizer = self.optimizers[player]
        weights = [p for p in self._networks[player].parameters() if p.requires_grad]
        follow(optimizer, self._networks[player].parameters())
        begun = (self.t if player == "critic" else self.moves) > 0
        found = None
        if begun and should_compile(self.compile, self.t):
            found = self._verified[player](terms, args, wrt=weights, begun=True)
        if found is None:
            # The other player's weights are constants of the move.
            values = terms(*args)
            gradients = torch.autograd.grad(values[0], weights, materialize_grads=True) if weights else ()
            found = Gradients(values, weights, gradients)
        norm = get_total_norm(found.gradients)
        for gradient in found.gradients:
            gradient.nan_to_num_(0.0, 0.0, 0.0)
        found.store()
        optimizer.step()
        return *(value.detach() for value in found.values), norm

    @torch.no_grad()
    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        """Both losses on a batch, without learning or noise and with every network in evaluation mode."""
        with eval_mode(*self._networks.values()):
            return self.players.losses(*batch)

    def _clip_critic(self) -> None:
        if self.clip is not None:
            clip_weights(self._networks["critic"], self.clip)

    diagnose = staticmethod(diagnose)

    def weights(self) -> dict[str, Tensor]:
        """All that was learned, by name: parameters and buffers of both players; the live tensors."""
        return weights_of(self._networks)

    def state_dict(self) -> dict[str, Any]:
        """The weights, both optimisers and schedules, and whose turn it is."""
        return {
            "weights": {name: t.detach() for name, t in self.weights().items()},
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "schedules": {name: s.state_dict() for name, s in self.schedules.items()},
            "turn": [self.t, self.moves, self.waited],
            "latest": self.latest,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back ``state_dict``; raises ``KeyError`` if the weights are not those of these networks."""
        assign({name: t.detach() for name, t in self.weights().items()}, state["weights"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, schedule in self.schedules.items():
            schedule.load_state_dict(state["schedules"][name])
        self.t, self.moves, self.waited = state["turn"]
        self.latest = state["latest"]
