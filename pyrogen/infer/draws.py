"""Draws from a guide, and what they say of each datum: the terms that every objective is made of.

Particles are rows: a batch is repeated k times, so that any model of independent rows takes them, convolutional
ones too, in one call.
"""

from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from pyrogen.errors import ConfigError
from pyrogen.infer.programs import Program
from pyrogen.traces import data_dim, over_plates, samples

Site = dict[str, Any]


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


def particles(model: Program, guide: Program, batch: Any, k: int, at_once: bool = False) -> tuple[Trace, Trace]:
    """Traces of the model and the guide in which the rows of the batch stand k times, one particle after another.

    Args:
        model, guide: the pair.
        batch: its arguments; tensors have a row for each datum.
        k: how many draws for each datum.
        at_once: run a guide with a single latent variable once, on the batch itself, and draw k times from it.
    """
    many = batch if k == 1 else tuple(_repeated(t, k) for t in batch)
    given = _at_once(guide, k, batch) if at_once and k > 1 else None
    given = given or poutine.trace(guide).get_trace(*many)
    with _Particles(k):
        return poutine.trace(poutine.replay(model, trace=given)).get_trace(*many), given


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
                observed = observed + data.rows(site, _log_prob(site)[None])[0]
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
            log_ratio = data.rows(q, _log_prob(q)[None])
            if p is not None:
                log_ratio = log_ratio - data.rows(p, _log_prob(p)[None])
            latent.append((log_ratio, max(q["fn"].event_shape.numel(), 1)))
        if not drawn:
            log_q = data.rows(q, _log_prob(q)[None]).sum(0)
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


def _log_prob(site: Site) -> Tensor:
    known: Tensor | None = site.get("unscaled_log_prob")
    return site["fn"].log_prob(site["value"]) if known is None else known


def _total(site: Site) -> Tensor:
    total: Tensor = scale_and_mask(_log_prob(site), site["scale"], site["mask"]).sum()
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


def _repeated(t: Any, k: int) -> Any:
    """All rows k times over, one particle after another."""
    return t.expand(k, *t.shape).flatten(0, 1) if isinstance(t, Tensor) and t.ndim else t


def _at_once(guide: Program, k: int, batch: tuple[Any, ...]) -> Trace | None:
    """The trace of a guide with a single latent variable, run once and drawn from k times; ``None`` for others."""
    draws = _ManyDraws(k)
    try:
        with draws:
            given = poutine.trace(guide).get_trace(*batch)
    except _NotSingle:
        return None
    if draws.value is None:
        return None
    for name in [n for n, s in given.nodes.items() if type(s.get("fn")).__name__ == "_Subsample"]:
        given.remove_node(name)  # the model's plate has k times as many rows
    for site in samples(given):
        site["value"], site["unscaled_log_prob"] = draws.value.flatten(0, 1), draws.log_prob.flatten(0, 1)
        site["mask"] = _repeated(site["mask"], k)
    return given


class _NotSingle(Exception):
    """The guide has another latent variable, or one outside the outermost plate."""


class _ManyDraws(Messenger):
    """Draws k values of a guide's only latent variable, ``value`` ``(k, n, …)``; the guide goes on with the first."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.value: Tensor | None = None

    def _pyro_sample(self, msg: Any) -> None:
        fn, plates = msg["fn"], [f for f in msg["cond_indep_stack"] if f.vectorized]
        if msg["done"] or type(fn).__name__ == "_Subsample":
            return
        if self.value is not None or msg["is_observed"] or not plates or -plates[0].dim != len(fn.batch_shape):
            raise _NotSingle
        self.value = fn.rsample((self.k,)) if fn.has_rsample else fn.sample((self.k,))
        # Now, while they are the values that a flow remembers the inverse of.
        self.log_prob = fn.log_prob(self.value)
        msg["value"], msg["done"] = self.value[0], True


class _Particles(Messenger):
    """Says of a plate whose rows are k particles of n data that it holds n: whoever counts data counts those."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def _pyro_sample(self, msg: Any) -> None:
        stack = list(msg["cond_indep_stack"])
        outer = next((i for i, f in enumerate(stack) if f.vectorized), None)
        if self.k > 1 and outer is not None and stack[outer].full_size in (None, stack[outer].size):
            stack[outer] = stack[outer]._replace(full_size=stack[outer].size // self.k)
            msg["cond_indep_stack"] = tuple(stack)
