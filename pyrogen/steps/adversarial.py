"""Adversarial training as a step: alternating updates of a critic and a generator.

The losses are those of ``pyrogen.objectives.adversarial``, the constraints on the critic's slope those of
``pyrogen.objectives.penalties``; generator and critic are any two modules.
"""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyrogen import ranks
from pyrogen.compile.checked_graph import Gradients
from pyrogen.compile.verified import VerifiedFunction, should_compile
from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.nn.precision import model_dtype
from pyrogen.objectives.adversarial import AdversarialLoss, NonSaturating
from pyrogen.objectives.adversarial_terms import AdversarialTerms
from pyrogen.objectives.penalties import clip_weights
from pyrogen.pyro_tools.parameters import assign, weights_of
from pyrogen.random import EVALUATION, scoped_seed
from pyrogen.steps.diagnostics import diagnose
from pyrogen.steps.guard import Guard
from pyrogen.steps.in_graph.updates import UpdatesInGraph
from pyrogen.steps.locate import LossTerm
from pyrogen.steps.optimizers import MakeOptimizer, follow, load_optimizer, make_optimizer
from pyrogen.summary import Facts, Summarised


def wgan_critic_schedule(
    critic_steps: int = 5, burst: int = 100, first: int = 25, every: int = 500
) -> Callable[[int], int]:
    """WGAN's schedule of critic steps per generator step, for ``AdversarialGame(critic_steps=wgan_critic_schedule())``.

    Before each of the generator's ``first`` steps and each ``every``-th one the critic takes ``burst`` steps, otherwise
    ``critic_steps``. Arjovsky, Chintala and Bottou, "Wasserstein generative adversarial networks", ICML 2017.
    """

    def schedule(generator_steps: int) -> int:
        return burst if generator_steps < first or generator_steps % every == 0 else critic_steps

    return schedule


class AdversarialGame(Summarised):
    """Update the critic on every batch and the generator on every ``critic_steps``-th.

    Args:
        generator: ``generator(z, y=None) -> x``.
        critic: ``critic(x, y=None) -> scores (batch,)`` or ``(batch, 1)``; for losses on features also
            ``critic.features(x, y=None) -> (batch, dims)``.
        prior: ``prior(n) -> z``, on the device of the data.
        loss: ``NonSaturating()`` by default.
        optim: factory of the optimisers; one for both networks, or a pair (generator's, critic's).
        critic_steps: critic updates per generator update (K), or ``critic_steps(generator_steps) -> K`` given
            the number of generator updates so far, e.g. ``wgan_critic_schedule()``.
        penalty: ``penalty(critic, real, fake, *rest)``, added to the critic's loss.
        generator_penalty: ``penalty(generator, real, *rest)``, added to the generator's loss, such as
            ``LikelihoodPenalty``.
        penalty_schedule: ``penalty_schedule(t) -> factor``, by which the penalty is multiplied in training step t.
        clip: τ; after every update all weights of the critic are clipped to [-τ, τ].
        noise: instance noise, ``noise(t) -> σ``: N(0, σ²) is added to every input of the critic in training step t.
            Sønderby et al., "Amortised MAP inference for image super-resolution", ICLR 2017.
        schedule: makes a learning-rate schedule of each optimiser, stepped once for each batch.
        compile: whether each network's loss and gradients run as one compiled graph (see ``VerifiedFunction``); by
            default after ``COMPILE_AFTER`` steps.
        constant: names of attributes and variables of networks, loss and penalty that never change (see
            ``VerifiedFunction``).

    Each call returns scalars: ``critic_loss`` (without the penalty), ``penalty`` if there is one, ``generator_loss``
    (the latest, once there is one), ``generator_penalty`` likewise, and three diagnostics (see ``diagnose``):
    ``std_ratio``, the standard deviation of the samples divided by that of the data; ``critic_accuracy``, for losses
    with a decision boundary the share of scores on the correct side of it, for relativistic losses the share of pairs
    with D(x) > D(G(z)); ``gradient``, the norm of the generator's latest gradient.

    Raises:
        Diverged: in place of an update whose loss or gradients are not finite.
        ConfigError: if ``critic_steps`` is less than 1, ``clip`` is not positive, or the loss works on features that
            the critic does not have.
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
        generator_penalty: Callable[..., Tensor] | None = None,
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
        self.terms = AdversarialTerms(generator, critic, prior, loss or NonSaturating(), penalty, generator_penalty)
        self.clip, self.critic_steps = clip, critic_steps
        self.noise, self.penalty_schedule = noise, penalty_schedule
        self.optimizers = {
            "generator": make_optimizer(make_g, generator.parameters()),
            "critic": make_optimizer(make_c, critic.parameters()),
        }
        self.schedules = {name: schedule(o) for name, o in self.optimizers.items()} if schedule else {}
        self.t = self.generator_steps = 0
        self.critic_steps_taken = 0  # since the generator's latest step
        self.latest: dict[str, Tensor] = {}
        self.compile, self.guard = compile, Guard()
        self._verified = {
            "generator": VerifiedFunction(self.terms.generator_terms, constant=constant),
            "critic": VerifiedFunction(self.terms.critic_terms, constant=constant),
        }
        self._in_graph = {name: UpdatesInGraph() for name in self._networks}
        self._clip_critic()

    @torch.enable_grad()
    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """Take one step on a batch of data, ``(batch, *event)``, and its labels if the networks take them."""
        x, *rest = batch
        sigma, penalty_factor = self._value(self.noise, x), self._value(self.penalty_schedule, x)
        _, *logged, _ = self._update("critic", self.terms.critic_terms, x, sigma, penalty_factor, *rest)
        self._clip_critic()
        logs = dict(zip(self.terms.logged(), logged, strict=True))
        self.t, self.critic_steps_taken = self.t + 1, self.critic_steps_taken + 1
        k = self.critic_steps if isinstance(self.critic_steps, int) else self.critic_steps(self.generator_steps)
        if self.critic_steps_taken >= k:
            *values, norm = self._update("generator", self.terms.generator_terms, x, sigma, *rest)
            names = self.terms.generator_logged()
            found = {"gradient": norm, **dict(zip(names, values[-len(names) :], strict=True))}
            self.latest = ranks.mean(found)  # it is logged until the next one, and saved
            self.generator_steps, self.critic_steps_taken = self.generator_steps + 1, 0
        for name, schedule in self.schedules.items():
            if name == "critic" or self.generator_steps:  # torch warns of a schedule that precedes its optimiser
                schedule.step()
        return logs | self.latest

    def _value(self, schedule: Callable[[int], float] | None, x: Tensor) -> Tensor | None:
        """The value of a schedule in this step, as a tensor: a graph would bake in a Python number."""
        return None if schedule is None else torch.full((), schedule(self.t), device=x.device, dtype=model_dtype(x))

    def _update(self, name: str, terms: Callable[..., tuple[Tensor, ...]], *args: Any) -> tuple[Tensor, ...]:
        """Take one optimiser step of a network; return its terms, detached, and the norm of its gradient."""
        optimizer, in_graph, t = self.optimizers[name], self._in_graph[name], self.t + (name == "critic")
        found = in_graph.again(args) or self._gradients(name, terms, args)
        found.store()
        if not in_graph.finish(found, args, t):
            self.guard.update(optimizer, found.values[:1], t, optimizer.step)
        norm = get_total_norm([p.grad for p in found.weights if p.grad is not None])
        return *(value.detach() for value in found.values), norm

    def _gradients(self, name: str, terms: Callable[..., tuple[Tensor, ...]], args: tuple[Any, ...]) -> Gradients:
        """The terms of a network's loss and the gradients of the first, by a graph, which may update, or eagerly."""
        optimizer = self.optimizers[name]
        weights = [p for p in self._networks[name].parameters() if p.requires_grad]
        follow(optimizer, self._networks[name].parameters())
        optimizer.zero_grad()  # a weight that was frozen since the last update would move by its old gradient
        found = None
        if (self.t if name == "critic" else self.generator_steps) and should_compile(self.compile, self.t):
            update = self._in_graph[name].next(optimizer, self.guard)
            found = self._verified[name](terms, args, wrt=weights, begun=True, update=update)
        if found is None:
            # Only this network's weights are differentiated; the other's are constants.
            values = terms(*args)
            gradients = torch.autograd.grad(values[0], weights, materialize_grads=True) if weights else ()
            found = Gradients(values, weights, gradients)
        return found

    @property
    def updates_in_graph(self) -> list[UpdatesInGraph]:
        """The updates that may be part of its compiled steps, see ``exclusive``."""
        return list(self._in_graph.values())

    @torch.no_grad()
    @scoped_seed(EVALUATION)
    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        """Both losses on a batch, without noise, penalty or update, and with every network in evaluation mode.

        Every call has the same draws from the prior.
        """
        with eval_mode(*self._networks.values()):
            return self.terms.losses(*batch)

    def _clip_critic(self) -> None:
        if self.clip is not None:
            clip_weights(self._networks["critic"], self.clip)

    diagnose = staticmethod(diagnose)

    def summary(self) -> tuple[str, Facts]:
        """The two networks, the loss, and how far training is."""
        parts = {**self._networks, "loss": self.terms.loss}
        return "AdversarialGame", {name: type(part).__name__ for name, part in parts.items()} | {"t": self.t}

    def loss_terms(self, *batch: Tensor) -> Iterator[LossTerm]:
        """Both losses of a step on the batch with the weights of each network; see ``steps.locate``."""
        x, *rest = batch
        sigma, factor = self._value(self.noise, x), self._value(self.penalty_schedule, x)
        with torch.enable_grad():
            for name, values in (
                ("critic", partial(self.terms.critic_terms, x, sigma, factor, *rest)),
                ("generator", partial(self.terms.generator_terms, x, sigma, *rest)),
            ):
                yield LossTerm(f"{name}_loss", values()[0], weights_of({name: self._networks[name]}))

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers of both networks, by name; the tensors themselves, not copies."""
        return weights_of(self._networks)

    def state_dict(self) -> dict[str, Any]:
        """The weights, both optimisers and schedules, and the counts of steps."""
        return {
            "weights": {name: t.detach() for name, t in self.weights().items()},
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "schedules": {name: s.state_dict() for name, s in self.schedules.items()},
            "steps": [self.t, self.generator_steps, self.critic_steps_taken],
            "latest": self.latest,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned; raises ``KeyError`` if its weights do not fit the networks."""
        assign({name: t.detach() for name, t in self.weights().items()}, state["weights"])
        for name, optimizer in self.optimizers.items():
            load_optimizer(optimizer, state["optimizers"][name])
        for name, schedule in self.schedules.items():
            schedule.load_state_dict(state["schedules"][name])
        self.t, self.generator_steps, self.critic_steps_taken = state["steps"]
        self.latest = state["latest"]
