"""Objectives: what a Pyro pair is trained by, each a bound on log p(x) or a weighting of one.

    β-ELBO       E_q[log p(x | z)] - β KL(q(z | x) ‖ p(z))
    free bits    E_q[log p(x | z)] - Σ_j max(λ, E_batch[KL_j])
    IWAE_k       E_q[log (1/k) Σ_i p(x, z_i) / q(z_i | x)]

Each is a Pyro ``ELBO``: ``pyrogen.SVI`` and ``pyro.infer.SVI`` take it as their ``loss``. From end to end it is
arithmetic on tensors, with no number read from the device and no branch on data, so it exports and compiles.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log
from typing import Any

import torch
from pyro.infer import ELBO
from pyro.poutine import Trace
from torch import Tensor, nn

from pyrogen.errors import ConfigError
from pyrogen.objectives.elbo_terms import ElboTerms, RowPlates, ambiguous, collect, rows_of
from pyrogen.pyro_tools.programs import Program
from pyrogen.pyro_tools.traces import trace_particles

Weight = Callable[[Tensor], Tensor]
ROW_PLATES = RowPlates()
"""What was seen of the pairs that objectives of several particles were asked about."""


class Objective(ELBO, nn.Module):
    """What the objectives share; a subclass says how draws become a value for each datum.

    Latent variables outside the data plate count once, by their log p - log q, and carry no weight.

    Args:
        particles: k, draws for each datum; rows are repeated for them, so k costs one call on k·n rows.
        analytic: take the KL in closed form where there is one. It is right where guide and model draw their
            latent variables in the same order, and only used there.

    Raises:
        ConfigError: for less than one particle. When called: if a latent variable of the model is not in the
            guide, or one that all data share cannot be reparameterised; if a site has other dimensions than its
            plates; with several particles, if a plate of the data, or a site outside it, does not follow the rows as
            it should.
    """

    def __init__(self, particles: int = 1, analytic: bool = True) -> None:
        nn.Module.__init__(self)
        ELBO.__init__(self)
        if particles < 1:
            raise ConfigError(f"an objective needs at least 1 particle; got {particles}")
        self.particles, self.analytic = particles, analytic

    @abstractmethod
    def value(self, draws: ElboTerms, learning: bool) -> Tensor:
        """The objective, higher is better: of each draw, ``(k, n)``, or of all k together, ``(1, n)``."""

    def per_datum(self, model: Program, guide: Program, *batch: Any) -> Tensor:
        """The objective of each datum in nats, ``(batch,)``: the value at the end of training's schedule.

        Raises:
            ConfigError: if the model observes nothing inside a plate of the data.
        """
        draws = self._draw(model, guide, batch)
        if not draws.observed.ndim:
            raise ConfigError("no value for each datum: wrap what is observed in `with pyro.plate('data', len(x))`")
        return self.value(draws, learning=False).mean(0)

    def differentiable_loss(self, model: Program, guide: Program, *batch: Any) -> Tensor:
        """Minus the objective, summed over the data in nats; its gradient is that to descend."""
        return self._loss(self._draw(model, guide, batch), learning=True)

    @torch.no_grad()
    def loss(self, model: Program, guide: Program, *batch: Any) -> Tensor:
        """The same without learning: a schedule does not advance, and stands at its end."""
        return self._loss(self._draw(model, guide, batch), learning=False)

    def loss_and_grads(self, model: Program, guide: Program, *batch: Any) -> Tensor:
        """The loss, with its gradients added to the parameters."""
        loss = self.differentiable_loss(model, guide, *batch)
        if loss.requires_grad:
            loss.backward()
        return loss.detach()

    def _loss(self, draws: ElboTerms, learning: bool) -> Tensor:
        value = self.value(draws, learning) if draws.observed.ndim else draws.observed[None]
        if draws.score is not None and learning:  # the score-function gradient, of value zero
            score = draws.score if len(value) > 1 else draws.score.sum(0, keepdim=True)
            value = value + value.detach() * (score - score.detach())
        return -(draws.scale * value.mean(0).sum() + draws.shared)

    def _draw(self, model: Program, guide: Program, batch: tuple[Any, ...]) -> ElboTerms:
        rows, following = rows_of(batch), None
        if rows is None and self.particles > 1:
            raise ConfigError(
                f"{self.particles} particles stand as rows of the batch: pass the data as an argument, or use one"
            )
        if self.particles > 1:
            following = ROW_PLATES(self, model, guide, batch)
        joint, given = self._particles(model, guide, batch, following)
        if self.particles == 1 and ambiguous(joint, given, rows):
            following = ROW_PLATES(self, model, guide, batch)
        return collect(joint, given, self.particles, self.analytic, rows, following)

    def _get_trace(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Trace, Trace]:
        """Traces of the model and the guide whose rows are k particles of the data."""
        return self._particles(model, guide, args, None)

    def _particles(
        self, model: Program, guide: Program, batch: tuple[Any, ...], following: frozenset[str] | None
    ) -> tuple[Trace, Trace]:
        return trace_particles(model, guide, batch, self.particles, run_guide_once=not self.analytic, data=following)


class BetaELBO(Objective):
    """E_q[log p(x | z)] - β KL(q(z | x) ‖ p(z)); the ELBO at β = 1.

    Higgins et al., "β-VAE", ICLR 2017. With β = 1 it is Pyro's ``TraceMeanField_ELBO``, and ``Trace_ELBO`` where
    ``analytic`` is false.

    Args:
        beta: β, or a function of the number of calls so far (a scalar tensor, the first call is 1) with a limit at
            infinity, such as ``Warmup``. The number is a buffer, so it is saved and continued with the step.
        particles, analytic: as for ``Objective``.
    """

    calls: Tensor

    def __init__(self, beta: float | Weight = 1.0, particles: int = 1, analytic: bool = True) -> None:
        super().__init__(particles, analytic)
        if not callable(beta) and not beta >= 0:
            raise ConfigError(f"beta must not be negative; got {beta}")
        self.beta = beta
        self.register_buffer("calls", torch.zeros(()))

    def value(self, draws: ElboTerms, learning: bool) -> Tensor:
        """The weighted bound, ``(k, n)``."""
        if not callable(self.beta):
            beta: float | Tensor = self.beta
        elif learning:
            self.calls += 1
            beta = self.beta(self.calls.clone())
        else:
            beta = self.beta(torch.full_like(self.calls, inf))
        return draws.observed - sum(beta * kl.sum(0) for kl, _ in draws.latent)


@dataclass(frozen=True)
class Warmup:
    """β(t) = β min(1, t / steps): the divergence enters little by little.

    Bowman et al., "Generating sentences from a continuous space", 2016; Sønderby et al., 2016.

    Args:
        steps: how many calls it takes.
        beta: the weight at the end.
    """

    steps: int
    beta: float = 1.0

    def __call__(self, t: Tensor) -> Tensor:
        """The weight at call ``t``."""
        return self.beta * (t / max(self.steps, 1)).clamp(max=1.0)


class FreeBits(Objective):
    """E_q[log p(x | z)] - Σ_j max(λ, E_batch[KL_j]): λ nats in each latent dimension cost nothing extra.

    Kingma et al., "Improved variational inference with inverse autoregressive flow", NeurIPS 2016. Where q or p does
    not factorise over its d dimensions, they are one group with d λ nats. A dimension below λ counts as λ for each
    datum.

    Args:
        nats: λ.
        particles: as for ``Objective``.
    """

    def __init__(self, nats: float, particles: int = 1) -> None:
        super().__init__(particles)
        if not nats >= 0:
            raise ConfigError(f"free bits must not be negative; got {nats}")
        self.nats = nats

    def value(self, draws: ElboTerms, learning: bool) -> Tensor:
        """The bound with free nats, ``(k, n)``."""
        value = draws.observed
        for kl, dims in draws.latent:
            floor = self.nats * dims
            value = value - torch.where(kl.mean((1, 2), keepdim=True) > floor, kl, floor).sum(0)
        return value


class IWAE(Objective):
    """E_q[log (1/k) Σ_i p(x, z_i) / q(z_i | x)]: at least the ELBO, and closer to log p(x) for larger k.

    Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR 2016. A guide with a single latent
    variable runs once for all k; any other once for each.

    Args:
        k: importance samples for each datum.
    """

    def __init__(self, k: int) -> None:
        super().__init__(k, analytic=False)

    def value(self, draws: ElboTerms, learning: bool) -> Tensor:
        """The bound, ``(1, n)``."""
        log_w = draws.observed - sum(kl.sum(0) for kl, _ in draws.latent)
        return log_w.logsumexp(0, keepdim=True) - log(self.particles)
