"""Objectives of Pyro pairs: lower bounds on log p(x), and weighted variants of the ELBO.

    β-ELBO       E_q[log p(x | z)] - β KL(q(z | x) ‖ p(z))
    free bits    E_q[log p(x | z)] - Σ_j max(λ, E_batch[KL_j])
    IWAE_k       E_q[log (1/k) Σ_i p(x, z_i) / q(z_i | x)]

Each is a Pyro ``ELBO``: ``pyrogen.SVI`` and ``pyro.infer.SVI`` take it as their ``loss``. Each is computed on tensors
throughout, without a read from the device or a branch on data, so it can be exported and compiled.
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

from pyrogen import ranks
from pyrogen.errors import ConfigError
from pyrogen.objectives.elbo_terms import ElboTerms, RowPlates, ambiguous, collect, rows_of
from pyrogen.pyro_tools.programs import Program
from pyrogen.pyro_tools.traces import trace_particles

Weight = Callable[[Tensor], Tensor]
ROW_PLATES = RowPlates()
"""The plates that follow the rows of the batch, by objective and pair; shared by all objectives."""


class Objective(ELBO, nn.Module):
    """Base class of the objectives; a subclass defines ``value``, the objective as a function of the ELBO's terms.

    Latent variables outside the data plate enter once, by log p - log q, with weight 1.

    Args:
        particles: k, the number of draws for each datum. The rows of the batch are repeated k times, so model and guide
            run once on k·n rows.
        analytic: use the closed form of the KL divergence where there is one. It is used only if guide and model draw
            their latent variables in the same order, where it is valid.

    Raises:
        ConfigError: for less than one particle. When called: if a latent variable of the model is missing from the
            guide, or one shared by all data cannot be reparameterised; if the shape of a site does not match its
            plates; with several particles, if the size of a data plate, or a site outside it, does not depend on the
            number of rows as required.
    """

    def __init__(self, particles: int = 1, analytic: bool = True) -> None:
        nn.Module.__init__(self)
        ELBO.__init__(self)
        if particles < 1:
            raise ConfigError(f"an objective needs at least 1 particle; got {particles}")
        self.particles, self.analytic = particles, analytic

    @abstractmethod
    def value(self, terms: ElboTerms, training: bool) -> Tensor:
        """The objective in nats, higher is better: of each draw, ``(k, n)``, or of all k together, ``(1, n)``.

        Args:
            terms: of k draws for each of n data.
            training: whether a schedule advances; else its final value is used.
        """

    def per_datum(self, model: Program, guide: Program, *batch: Any) -> Tensor:
        """The objective of each datum in nats, ``(batch,)``, at the final value of a schedule.

        Raises:
            ConfigError: if the model observes nothing inside a plate of the data.
        """
        terms = self.terms(model, guide, *batch)
        if not terms.observed.ndim:
            raise ConfigError("no value for each datum: wrap the observed site in `with pyro.plate('data', len(x))`")
        return self.value(terms, training=False).mean(0)

    def differentiable_loss(self, model: Program, guide: Program, *batch: Any) -> Tensor:
        """Minus the objective, summed over the data, in nats; a scalar to differentiate. A schedule advances."""
        return self._loss(self.terms(model, guide, *batch), training=True)

    @torch.no_grad()
    def loss(self, model: Program, guide: Program, *batch: Any) -> Tensor:
        """Minus the objective without gradients, at the final value of a schedule."""
        return self._loss(self.terms(model, guide, *batch), training=False)

    def loss_and_grads(self, model: Program, guide: Program, *batch: Any) -> Tensor:
        """The loss; its gradients are accumulated in the parameters."""
        loss = self.differentiable_loss(model, guide, *batch)
        if loss.requires_grad:
            loss.backward()
        return loss.detach()

    def _loss(self, terms: ElboTerms, training: bool) -> Tensor:
        value = self.value(terms, training) if terms.observed.ndim else terms.observed[None]
        if terms.score is not None and training:  # zero in value; its gradient is the score-function estimator
            score = terms.score if len(value) > 1 else terms.score.sum(0, keepdim=True)
            value = value + value.detach() * (score - score.detach())
        return -(terms.scale * value.mean(0).sum() + terms.shared)

    def terms(self, model: Program, guide: Program, *batch: Any) -> ElboTerms:
        """The reconstruction log p(x | z), KL divergences and other terms of the ELBO, each in nats per datum."""
        rows, following = rows_of(batch), None
        if rows is None and self.particles > 1:
            raise ConfigError(
                f"{self.particles} particles are vectorised over rows of the batch: "
                f"pass the data as an argument, or use one particle"
            )
        if self.particles > 1:
            following = ROW_PLATES(self, model, guide, batch)
        joint, given = self._particles(model, guide, batch, following)
        if self.particles == 1 and ambiguous(joint, given, rows):
            following = ROW_PLATES(self, model, guide, batch)
        return collect(joint, given, self.particles, self.analytic, rows, following)

    def _get_trace(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Trace, Trace]:
        """Traces of model and guide on the batch repeated k times."""
        return self._particles(model, guide, args, None)

    def _particles(
        self, model: Program, guide: Program, batch: tuple[Any, ...], following: frozenset[str] | None
    ) -> tuple[Trace, Trace]:
        return trace_particles(model, guide, batch, self.particles, run_guide_once=not self.analytic, data=following)


class BetaELBO(Objective):
    """E_q[log p(x | z)] - β KL(q(z | x) ‖ p(z)); the ELBO at β = 1.

    Higgins et al., "β-VAE: learning basic visual concepts with a constrained variational framework", ICLR 2017. At
    β = 1 it equals Pyro's ``TraceMeanField_ELBO``, or ``Trace_ELBO`` where ``analytic`` is false.

    Args:
        beta: β ≥ 0, or a function of the number of training calls (a scalar tensor; 1 at the first call) that has a
            limit at infinity, such as ``Warmup``. The number is a buffer and so part of the step's state.
        particles, analytic: as for ``Objective``.
    """

    calls: Tensor  # the number of training calls

    def __init__(self, beta: float | Weight = 1.0, particles: int = 1, analytic: bool = True) -> None:
        super().__init__(particles, analytic)
        if not callable(beta) and not beta >= 0:
            raise ConfigError(f"beta must not be negative; got {beta}")
        self.beta = beta
        self.register_buffer("calls", torch.zeros(()))

    def value(self, terms: ElboTerms, training: bool) -> Tensor:
        """The β-ELBO, ``(k, n)``, nats."""
        if not callable(self.beta):
            beta: float | Tensor = self.beta
        elif training:
            self.calls += 1
            beta = self.beta(self.calls.clone())
        else:
            beta = self.beta(torch.full_like(self.calls, inf))
        return terms.observed - sum(beta * kl.sum(0) for kl, _ in terms.latent)


@dataclass(frozen=True)
class Warmup:
    """KL annealing, ``β(t) = β min(1, t / steps)``.

    Bowman et al., "Generating sentences from a continuous space", CoNLL 2016; Sønderby et al., "Ladder variational
    autoencoders", NeurIPS 2016.

    Args:
        steps: the number of training calls until the final weight.
        beta: the final weight.
    """

    steps: int
    beta: float = 1.0

    def __call__(self, t: Tensor) -> Tensor:
        """The weight at training call ``t``, a scalar tensor."""
        return self.beta * (t / max(self.steps, 1)).clamp(max=1.0)


class FreeBits(Objective):
    """E_q[log p(x | z)] - Σ_j max(λ, E_batch[KL_j]): the KL of a latent dimension is penalised above λ nats only.

    Kingma et al., "Improved variational inference with inverse autoregressive flow", NeurIPS 2016. Where q or p does
    not factorise over its d dimensions, they form one group with d λ nats. A dimension whose mean KL is below λ
    contributes λ for each datum.

    Args:
        nats: λ ≥ 0.
        particles: as for ``Objective``.
    """

    def __init__(self, nats: float, particles: int = 1) -> None:
        super().__init__(particles)
        if not nats >= 0:
            raise ConfigError(f"free bits must not be negative; got {nats}")
        self.nats = nats

    def value(self, terms: ElboTerms, training: bool) -> Tensor:
        """The bound with free bits, ``(k, n)``, nats."""
        value = terms.observed
        for kl, dims in terms.latent:
            floor = self.nats * dims
            mean = ranks.batch_mean(kl.detach().mean((1, 2), keepdim=True))
            value = value - torch.where(mean > floor, kl, floor).sum(0)
        return value


class IWAE(Objective):
    """E_q[log (1/k) Σ_i p(x, z_i) / q(z_i | x)], which lies between the ELBO and log p(x) and increases with k.

    Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR 2016. A guide with a single latent
    variable runs once for all k; any other guide runs once for each.

    Args:
        k: the number of importance samples for each datum.
    """

    def __init__(self, k: int) -> None:
        super().__init__(k, analytic=False)

    def value(self, terms: ElboTerms, training: bool) -> Tensor:
        """The importance-weighted bound, ``(1, n)``, nats."""
        log_w = terms.observed - sum(kl.sum(0) for kl, _ in terms.latent)
        return log_w.logsumexp(0, keepdim=True) - log(self.particles)
