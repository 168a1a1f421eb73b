"""What draws from a guide say of each datum: the terms that every objective is made of."""

from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import Delta
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from pyrogen.errors import ConfigError
from pyrogen.traces import Site, data_dim, log_prob, over_plates, samples


@dataclass(frozen=True)
class Draws:
    """What k draws from the guide say of n data.

    Args:
        observed: log p(x | z), ``(k, n)``, nats.
        latent: for each latent variable its divergence and the number of dimensions that each group of it spans.
            The divergence is ``(groups, k, n)``: the KL in closed form, a group for each dimension where the
            distributions factorise; else its one-draw estimate log q - log p, in one group.
        shared: log p - log q of what lies outside the data plate, scalar.
        score: log q of what cannot be reparameterised, ``(k, n)``; ``None`` where all can.
        scale: how many data each of the n stands for, under ``plate(N, subsample_size=n)``.
    """

    observed: Tensor
    latent: list[tuple[Tensor, int]]
    shared: Tensor
    score: Tensor | None
    scale: float


def collect(joint: Trace, given: Trace, k: int, analytic: bool) -> Draws:
    """The terms of the traces that ``particles`` gave.

    Args:
        joint, given: of the model and the guide.
        k: the particles in them.
        analytic: take the KL in closed form where there is one and both draw their latent variables in one order.

    Raises:
        ConfigError: as ``Objective``.
    """
    model, guide = samples(joint), samples(given)
    data = _DataPlate(model, guide, k)
    prior = {site["name"]: site for site in model if not site["is_observed"]}
    in_order = list(prior) == [site["name"] for site in guide if site["name"] in prior]
    missing = sorted(prior.keys() - {site["name"] for site in guide})
    if missing:
        raise ConfigError(
            f"site {missing[0]!r} is latent in the model but not in the guide; to sum it out, use TraceEnum_ELBO"
        )
    observed, shared = torch.zeros(()), torch.zeros(())
    latent: list[tuple[Tensor, int]] = []
    score: Tensor | None = None
    for site in model:
        if site["is_observed"]:
            if data.has(site):
                observed = observed + data.rows(site, log_prob(site)[None])[0]
            else:
                shared = shared + _total(site)
    for q in guide:
        p, drawn = prior.get(q["name"]), q["fn"].has_rsample
        if not data.has(q):
            if not drawn:
                raise ConfigError(f"site {q['name']!r}, shared by all data, cannot be reparameterised: use Trace_ELBO")
            shared = shared - _total(q) + (_total(p) if p else 0.0)
            continue
        closed = _closed_form(q["fn"], p["fn"]) if analytic and in_order and p else None
        if closed is not None:
            latent.append((data.rows(q, closed[0]), closed[1]))
        else:
            log_ratio = data.rows(q, log_prob(q)[None])
            if p is not None:
                log_ratio = log_ratio - data.rows(p, log_prob(p)[None])
            latent.append((log_ratio, max(q["fn"].event_shape.numel(), 1)))
        if not drawn:
            log_q = data.rows(q, log_prob(q)[None]).sum(0)
            score = log_q if score is None else score + log_q
    return Draws(observed, latent, shared, score, data.scale)


class _DataPlate:
    """The outermost plate around what is observed; in the guide it may have another name, but not another size."""

    def __init__(self, model: list[Site], guide: list[Site], k: int) -> None:
        around = [f for s in model if s["is_observed"] for f in s["cond_indep_stack"] if f.vectorized]
        self.k, self.names, self.scale = k, set(), 1.0
        if around:
            size = around[0].size
            outer = [next((f for f in s["cond_indep_stack"] if f.vectorized), around[0]) for s in guide]
            self.names = {around[0].name} | {f.name for f in outer if f.size in (size, size // k)}
            self.scale = (around[0].full_size or size) / (size // k)

    def has(self, site: Site) -> bool:
        return data_dim(site, self.names) is not None

    def rows(self, site: Site, term: Tensor) -> Tensor:
        """A site's term ``(groups, *batch)``, scaled and masked and summed over other plates: ``(groups, k, n)``."""
        frame = next(f for f in site["cond_indep_stack"] if f.name in self.names)
        subsampling = max((frame.full_size or frame.size) / frame.size, 1.0)
        term = scale_and_mask(term, site["scale"] / subsampling, site["mask"])
        return over_plates(term, frame.dim, term.ndim - 1).reshape(len(term), self.k, -1)


def _total(site: Site) -> Tensor:
    total: Tensor = scale_and_mask(log_prob(site), site["scale"], site["mask"]).sum()
    return total


def _closed_form(q: Any, p: Any) -> tuple[Tensor, int] | None:
    """KL(q ‖ p) as ``(groups, *batch)`` with the dimensions of a group; ``None`` where there is no closed form."""
    if isinstance(q, Delta):  # its KL in Pyro leaves out the density that it carries
        return None
    inner = q.reinterpreted_batch_ndims if isinstance(q, Independent) else 0
    try:
        if inner and isinstance(p, Independent) and p.reinterpreted_batch_ndims == inner:
            kl = kl_divergence(q.base_dist, p.base_dist)
            return kl.flatten(-inner).movedim(-1, 0), max(q.base_dist.event_shape.numel(), 1)
        return kl_divergence(q, p)[None], max(q.event_shape.numel(), 1)
    except NotImplementedError:
        return None
