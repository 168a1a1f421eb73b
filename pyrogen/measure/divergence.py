"""Divergences between two distributions: exact where possible, else estimated by a trained critic.

A critic maximises a lower bound on the divergence. The bound is evaluated on held-out data, so that overfitting does
not raise it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import log, prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyrogen.data.checks import check_sets
from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.nn.mlp import mlp
from pyrogen.protocols import Kind, Score
from pyrogen.random import generator, random_rows, scoped_seed
from pyrogen.steps.gradient import GradientStep

LogDensity = Callable[[Tensor], Tensor]


def optimal_discriminator(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The optimal discriminator ``D* = p / (p + q)`` for equal class probabilities.

    Args:
        log_p, log_q: log-densities at the same points, nats.
    """
    return torch.sigmoid(log_p - log_q)


def jensen_shannon(log_p: LogDensity, log_q: LogDensity, from_p: Tensor, from_q: Tensor) -> Score:
    """Jensen-Shannon divergence between known densities, by Monte Carlo.

    ``JS = log 2 + ½ E_p[log D*] + ½ E_q[log(1 - D*)]``

    Args:
        log_p, log_q: log-densities, ``(n, *event) -> (n,)``, nats.
        from_p, from_q: samples from each.

    Returns:
        An unbiased estimate in nats, between 0 and log 2 = 0.693.
    """
    return _js(log_p(from_p) - log_q(from_p), log_p(from_q) - log_q(from_q), "estimate")


@dataclass(frozen=True)
class CriticBudget:
    """The training budget of a critic.

    Args:
        hidden: the widths of its hidden layers.
        steps, batch_size, lr: of Adam, with cosine annealing of the learning rate to zero.
        seed: the seed of weights and batches.
    """

    hidden: tuple[int, ...] = (128, 128, 128)
    steps: int = 2000
    batch_size: int = 256
    lr: float = 2e-3
    seed: int = 0


def js_by_critic(from_p: Tensor, from_q: Tensor, budget: CriticBudget | None = None) -> Score:
    """Lower bound on the Jensen-Shannon divergence by a critic t.

    ``JS ≥ log 2 + ½ max_t { E_p[log σ(t)] + E_q[log σ(-t)] }``

    The critic is trained on a random half of the rows, and the bound is evaluated on the other. Goodfellow et al.,
    "Generative adversarial nets", NeurIPS 2014.

    Args:
        from_p, from_q: samples, ``(n, *event)`` and ``(m, *event)``.
        budget: the training budget of the critic.

    Returns:
        The bound in nats.
    """

    def loss(critic: nn.Module, p: Tensor, q: Tensor) -> Tensor:
        return F.softplus(-critic(p)).mean() + F.softplus(critic(q)).mean()

    t_p, t_q, _ = _critic_scores(from_p, from_q, loss, budget)
    return _js(t_p, t_q, "lower_bound")


def w1_by_critic(from_p: Tensor, from_q: Tensor, budget: CriticBudget | None = None, penalty: float = 10.0) -> Score:
    """Estimate the Wasserstein-1 distance by a critic with a one-sided gradient penalty.

    ``W₁ = max_f E_p[f] - E_q[f]`` over 1-Lipschitz f. It is an estimate, not a bound, because under the penalty
    ``λ E[max(0, ‖∇f(x̂)‖ - 1)²]`` gradient norms can slightly exceed 1. The critic is trained on a random half of the
    rows and evaluated on the other. Petzka, Fischer and Lukovnikov, "On the regularization of Wasserstein GANs",
    ICLR 2018.

    Args:
        from_p, from_q: samples, ``(n, *event)`` and ``(m, *event)``.
        budget: the training budget of the critic.
        penalty: λ.

    Returns:
        The estimate in the unit of the data.
    """

    def loss(critic: nn.Module, p: Tensor, q: Tensor) -> Tensor:
        between = torch.lerp(p, q, torch.rand(len(p), 1, device=p.device)).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return critic(q).mean() - critic(p).mean() + penalty * F.relu(slope.norm(dim=1) - 1).square().mean()

    f_p, f_q, scale = _critic_scores(from_p, from_q, loss, budget)
    stderr = (f_p.var() / len(f_p) + f_q.var() / len(f_q)).sqrt() * scale
    return Score(float((f_p.mean() - f_q.mean()) * scale), float(stderr), "estimate", "data", {"n": len(f_p)})


def w1_exact(x: Tensor, y: Tensor) -> float:
    """The Wasserstein-1 distance between two point sets of equal size, in the unit of the data.

    In one dimension the optimal assignment matches sorted values; otherwise it is computed in O(n³), feasible for a
    few thousand points.

    Args:
        x, y: ``(n, *event)`` each.

    Raises:
        ConfigError: if the sets differ in size.
    """
    if len(x) != len(y):
        raise ConfigError(f"expected two sets of equal size; got {len(x)} and {len(y)} points")
    a, b = x.flatten(1).double().cpu(), y.flatten(1).double().cpu()
    if a.shape[1] == 1:
        return float((a.sort(0).values - b.sort(0).values).abs().mean())
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(a, b)
    return float(cost[linear_sum_assignment(cost.numpy())].mean())


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 500, seed: int = 0) -> Score:
    """The mean over directions θ of the Wasserstein-1 distance of the projections ``θᵀx`` and ``θᵀy``.

    ``∫ W₁(θᵀp, θᵀq) dθ`` over the unit sphere, with both quantile functions at ``(i - ½) / max(n, m)``. Rabin et al.,
    "Wasserstein barycenter and its application to texture mixing", 2011.

    Args:
        x, y: ``(n, *event)`` and ``(m, *event)``.
        directions: the number of directions, on the unit sphere.
        seed: of the directions.

    Returns:
        The distance in the unit of the data; its standard error is that over directions.

    Raises:
        DataError: for sets without rows, different shapes, or values that are not finite.
    """
    check_sets("swd", 1, x=x, y=y)
    a, b = x.flatten(1).double(), y.flatten(1).double()
    theta = torch.randn(a.shape[1], directions, generator=generator(seed, "swd"), dtype=torch.float64).to(a.device)
    theta = theta / theta.norm(dim=0)
    level = (torch.arange(max(len(a), len(b)), device=a.device) + 0.5) / max(len(a), len(b))
    quantiles = [(rows @ theta).sort(0).values[(level * len(rows)).long()] for rows in (a, b)]
    each = (quantiles[0] - quantiles[1]).abs().mean(0)
    error = float(each.std() / directions**0.5) if directions > 1 else 0.0
    return Score(float(each.mean()), error, "estimate", "data", {"n": min(len(a), len(b)), "directions": directions})


def _js(t_p: Tensor, t_q: Tensor, kind: Kind) -> Score:
    """The discriminator's objective in units of JS, at logits t of samples from p and q."""
    u, v = -F.softplus(-t_p.double()), -F.softplus(t_q.double())
    stderr = 0.5 * (u.var() / len(u) + v.var() / len(v)).sqrt()
    value = log(2) + 0.5 * float(u.mean() + v.mean())
    return Score(value, float(stderr), kind, "nats", {"n": len(u) + len(v)})


def _critic_scores(
    from_p: Tensor,
    from_q: Tensor,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor],
    budget: CriticBudget | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Train a critic; return its scores of held-out rows of p and q, and the scale by which the data were divided."""
    budget = budget or CriticBudget()
    check_sets("a critic", 4, from_p=from_p, from_q=from_q)
    # One half trains the critic and the other is judged: halves at random, as rows may come in any order.
    p, q = (random_rows(x, len(x), budget.seed, name) for name, x in (("p", from_p), ("q", from_q)))
    p, q = p.flatten(1).float(), q.flatten(1).float()
    pooled = torch.cat([p, q])
    centre, scale = pooled.mean(0), pooled.std(0).norm() / pooled.shape[1] ** 0.5
    p, q = (p - centre) / scale, (q - centre) / scale
    (p, unseen_p), (q, unseen_q) = (rows.tensor_split([len(rows) // 2]) for rows in (p, q))
    with scoped_seed(budget.seed):
        critic = mlp(prod(p.shape[1:]), budget.hidden, 1).to(p.device)
        step = GradientStep(
            lambda p, q: {"loss": loss(critic, p, q)},
            partial(Adam, lr=budget.lr, betas=(0.5, 0.9), fused=True),
            schedule=partial(CosineAnnealingLR, T_max=budget.steps),
            compile=False,
        )
        for _ in range(budget.steps):  # batches of each set with replacement: the sets may differ in size
            step(*(rows[torch.randint(len(rows), (budget.batch_size,), device=p.device)] for rows in (p, q)))
    with torch.no_grad(), eval_mode(critic):
        return critic(unseen_p).squeeze(1), critic(unseen_q).squeeze(1), scale
